"""How well detectors find particles: on simulated frames with a truth, and on real ones."""
