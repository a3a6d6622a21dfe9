"""Where documents come from: 0MQ, recordings, memory."""
