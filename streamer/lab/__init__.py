"""The laboratory: simulator, faults, benchmarks, training. Nothing here runs at a beamline."""
