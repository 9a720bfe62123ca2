// The equations of one cell and their gradient; every kernel that needs a gate calls these functions.
//
//   LSTM:  i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)   g = tanh(a_g)   c' = f c + i g   h' = o tanh(c')
//   GRU:   r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)   n = tanh(a_n + r b_n)   h' = (1 - z) n + z h
//
// Sources: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000); Cho et al. (2014) with the
// reset gate applied after the recurrent product. Oracle: kernels/reference/lstm.py and gru.py.
#pragma once
#include "runtime/device.cuh"

struct LSTMGates {
  float i, f, g, o;
};

// c becomes the new cell state; returns the new hidden state.
DEVICE float lstm_cell(const LSTMGates& pre, float& c, LSTMGates& gate) {
  gate.i = sigmoid(pre.i), gate.f = sigmoid(pre.f), gate.g = tanh_(pre.g), gate.o = sigmoid(pre.o);
  c = gate.f * c + gate.i * gate.g;
  return gate.o * tanh_(c);
}

// dh, dc: of the new states. Returns the gradient of the pre-activations; dc becomes that of the old cell state.
DEVICE LSTMGates lstm_cell_backward(const LSTMGates& gate, float c_prev, float c, float dh, float& dc) {
  const float tanh_c = tanh_(c), d = dc + dh * gate.o * (1.0f - tanh_c * tanh_c);  // h' = o tanh(c')
  dc = d * gate.f;                                                                 // c' = f c + ...
  return {d * gate.g * gate.i * (1.0f - gate.i),                                   // c' = ... + i g,  i = sigmoid(a_i)
          d * c_prev * gate.f * (1.0f - gate.f),                                   // c' = f c + ...,  f = sigmoid(a_f)
          d * gate.i * (1.0f - gate.g * gate.g),                                   // c' = ... + i g,  g = tanh(a_g)
          dh * tanh_c * gate.o * (1.0f - gate.o)};                                 // h' = o tanh(c'), o = sigmoid(a_o)
}

struct GRUGates {
  float r, z, n;
};

DEVICE float gru_cell(const GRUGates& input, const GRUGates& hidden, float h_prev, GRUGates& gate) {
  gate.r = sigmoid(input.r + hidden.r), gate.z = sigmoid(input.z + hidden.z);
  gate.n = tanh_(input.n + gate.r * hidden.n);
  return (1.0f - gate.z) * gate.n + gate.z * h_prev;
}

// Returns the gradient of the input part; that of the hidden part has the same r and z, and dhidden_n. dh becomes what
// the old state receives directly.
DEVICE GRUGates gru_cell_backward(const GRUGates& gate, float hidden_n, float h_prev, float& dh, float& dhidden_n) {
  const float dn = dh * (1.0f - gate.z) * (1.0f - gate.n * gate.n);  // h' = (1 - z) n + ...,  n = tanh(...)
  const float dz = dh * (h_prev - gate.n);                           // h' = (1 - z) n + z h
  dhidden_n = dn * gate.r;                                           // n = tanh(... + r b_n)
  dh = dh * gate.z;                                                  // h' = ... + z h
  return {dn * hidden_n * gate.r * (1.0f - gate.r), dz * gate.z * (1.0f - gate.z), dn};
}
