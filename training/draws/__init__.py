"""Everything random of a training sample."""
