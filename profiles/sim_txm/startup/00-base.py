"""RunEngine and what goes into every start document."""

from bluesky import RunEngine

RE = RunEngine({})
RE.md["facility"] = "simulated"
RE.md["beamline_id"] = "sim_txm"
RE.md["data_session"] = "simulation"
