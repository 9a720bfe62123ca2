"""LSTM and GRU: a step at a time, or all steps in one launch; packed rows on the device."""
