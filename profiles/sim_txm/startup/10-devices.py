"""The simulated microscope: energy (keV), sample stage (um), shutter, camera.

OPERANDO_SIM_PRESET, _SEED and _SCANS choose what is simulated; the truth stays in `sample`
(`sample.truth().save("truth.npz")`) and never enters a document.
"""

import os

from operando.streamer.lab.simulate import preset
from operando.streamer.lab.simulate.devices import make_beamline

beamline = make_beamline(
    preset(
        os.environ.get("OPERANDO_SIM_PRESET", "paper"),
        seed=int(os.environ.get("OPERANDO_SIM_SEED", "0")),
        scans=int(os.environ.get("OPERANDO_SIM_SCANS", "3")),
    )
)
XEng = beamline.energy
stage = beamline.stage
shutter = beamline.shutter
txm = beamline.camera
sample = beamline.sample
