"""All random draws of a training sample."""
