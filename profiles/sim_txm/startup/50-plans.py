"""Plans of this beamline: RE(xanes()) is one scan, RE(charge(3)) three while the cell charges."""

from functools import partial

from operando.streamer.lab.simulate.plans import operando_charging, txm_xanes

# `beamline` comes from 10-devices.py
xanes = partial(txm_xanes, beamline)  # noqa: F821
charge = partial(operando_charging, beamline)  # noqa: F821
