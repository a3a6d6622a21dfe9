"""Real data with known answers: measured motion put in, and repeats that must agree."""
