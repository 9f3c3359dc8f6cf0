"""A finished run as others take it: a Hugging Face folder, StableHLO, ONNX; each verified."""
