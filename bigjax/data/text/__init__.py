"""Tagged text: formats, tokenizers, windows over long sentences, packing into rows."""
