"""A payment stream with fraud, late labels and plantable drift, delivered to a landing folder as a bank's feed would be."""
