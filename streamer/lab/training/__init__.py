"""Training of the networks on simulated frames of which everything is randomised.

In the order of reading: `settings`, `layout`, `augment`, `scenes` (frames), `targets`, `pool`
(what is kept of them), `recorded` (frames of a beamline), `sets` (batches, scores), `job` (what a
training depends on), `paired` and `unpaired` (tasks), `loop`, `run`.
"""
