"""Processes at the beamline and what watches them: processor, keeper, forwarder, page, IOC."""
