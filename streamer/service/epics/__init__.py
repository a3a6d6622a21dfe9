"""Results as EPICS process variables: a soft IOC beside the processor.

Needs caproto (``pip install operando[epics]``), which is imported when an IOC is made and not
before.
"""
