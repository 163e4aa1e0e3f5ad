"""Networks with their weights as programs for other runtimes: StableHLO and ONNX."""
