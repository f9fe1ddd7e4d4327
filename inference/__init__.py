"""Entry points that use a trained model, or none: run each as `python -m inference.NAME a.b=c`."""
