"""Has the data or the model's work changed? Numbers about days in, alarms and their weight out."""
