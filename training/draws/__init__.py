"""All randomness of a training sample."""
