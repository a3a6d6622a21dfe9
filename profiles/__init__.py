"""One folder per beamline; shipped as data, see :func:`operando.streamer.config.load_profile`."""
