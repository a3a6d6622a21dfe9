"""View of the running service for supervisors, monitoring systems and operators.

``/healthz``, ``/livez`` and ``/metrics``, and the notifications that systemd waits for. Nothing in
here is called by the processing and can hold it up: everything is read from counters when somebody
asks, in a thread of its own.
"""
