"""The comparison of Su et al. 2024, repeated on a synthetic set as they describe theirs."""
