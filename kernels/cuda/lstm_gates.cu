// Pointwise part of one LSTM time step, for any N and H. The recurrent products are separate GEMMs.
//
// lstm_gates_forward:   input_part, hidden_part [N,4,H] f32 (pre-activations in blocks i f g o, one with the bias),
//                       c_prev [N,H] f32
//                       -> gates [N,4,H] S (activated), c [N,H] f32, h [N,H] S
//                       h_n [N,H] S, in place: the initial state, from a row's last token on the state after it
// lstm_gates_backward:  gates, c_prev, c as above, dy [N,H] f32 (gradient of h from above; null: zero)
//                       -> dgates [N,4,H] S (may be gates itself), and in place
//                       dh [N,H] f32: in, the gradient of h from step t + 1; out, what step t - 1 receives besides
//                                     dgates W_hh, so that the GEMM that follows adds to it (beta = 1);
//                       dc [N,H] f32: in, the gradient of c; out, that of c_prev
//
// A row with t >= lengths[n] has ended: h is 0, c is carried on, gates and dgates are 0, dy is ignored, dh and dc pass
// through, and what its pre-activations hold is not used, NaN included.
// S is float or bf16. One thread per cell: grid ceil(N*H / 256), 256 threads, no shared memory, no barrier.
#include "cells.cuh"

template <class S>
DEVICE void lstm_gates_forward(const float* input_part, const float* hidden_part, const float* c_prev,
                               const int* lengths, S* gates, float* c, S* h, S* h_n, int t, int N, int H) {
  const int cell = blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= N * H) return;
  const int n = cell / H;
  const size_t at = (size_t)n * 4 * H + cell % H;
  LSTMGates gate = {0, 0, 0, 0};
  float state = c_prev[cell], out = 0.0f;
  if (t < lengths[n]) {
    const float *x = input_part + at, *r = hidden_part + at;
    out = lstm_cell({x[0] + r[0], x[H] + r[H], x[2 * H] + r[2 * H], x[3 * H] + r[3 * H]}, state, gate);
  }
  c[cell] = state;
  put(h + cell, out);
  if (t + 1 == lengths[n]) put(h_n + cell, out);
  put(gates + at, gate.i), put(gates + at + H, gate.f);
  put(gates + at + 2 * H, gate.g), put(gates + at + 3 * H, gate.o);
}

template <class S>
DEVICE void lstm_gates_backward(const S* gates, const float* c_prev, const float* c, const float* dy,
                                const int* lengths, S* dgates, float* dh, float* dc, int t, int N, int H) {
  const int cell = blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= N * H) return;
  const int n = cell / H;
  const size_t at = (size_t)n * 4 * H + cell % H;
  LSTMGates d = {0, 0, 0, 0};
  if (t < lengths[n]) {
    const S* a = gates + at;
    const LSTMGates gate = {to_float(a[0]), to_float(a[H]), to_float(a[2 * H]), to_float(a[3 * H])};
    float dstate = dc[cell];
    d = lstm_cell_backward(gate, c_prev[cell], c[cell], dh[cell] + (dy ? dy[cell] : 0.0f), dstate);
    dc[cell] = dstate;
    dh[cell] = 0.0f;
  }
  put(dgates + at, d.i), put(dgates + at + H, d.f), put(dgates + at + 2 * H, d.g), put(dgates + at + 3 * H, d.o);
}

#define LSTM_GATES(suffix, S)                                                                                          \
  KERNEL(lstm_gates_forward_##suffix, 256, 8, const float* input_part, const float* hidden_part, const float* c_prev, \
         const int* lengths, S* gates, float* c, S* h, S* h_n, int t, int N, int H) {                                 \
    lstm_gates_forward<S>(input_part, hidden_part, c_prev, lengths, gates, c, h, h_n, t, N, H);                       \
  }                                                                                                                   \
  KERNEL(lstm_gates_backward_##suffix, 256, 8, const S* gates, const float* c_prev, const float* c, const float* dy,  \
         const int* lengths, S* dgates, float* dh, float* dc, int t, int N, int H) {                                  \
    lstm_gates_backward<S>(gates, c_prev, c, dy, lengths, dgates, dh, dc, t, N, H);                                   \
  }
LSTM_GATES(f32, float)
LSTM_GATES(bf16, u16)
