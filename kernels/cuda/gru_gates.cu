// Pointwise part of one GRU time step, for any N and H. The recurrent products are separate GEMMs.
//
// gru_gates_forward:   input_part, hidden_part [N,3,H] f32 (pre-activations in blocks r z n, each with its own bias),
//                      h_prev [N,H] S
//                      -> gates [N,3,H] S (activated), hidden_n [N,H] S (the recurrent part of block n), h [N,H] S
//                      h_n [N,H] S, in place: the initial state, from a row's last token on the state after it
// gru_gates_backward:  gates, hidden_n, h_prev as above, dy [N,H] f32 (gradient of h from above; null: zero)
//                      -> dinput, dhidden [N,3,H] S (gradients of the two parts; dinput may be gates itself), in place
//                      dh [N,H] f32: in, the gradient of h from step t + 1; out, what step t - 1 receives besides
//                                    dhidden W_hh, so that the GEMM that follows adds to it (beta = 1)
//
// A row with t >= lengths[n] has ended: h, gates, hidden_n, dinput and dhidden are 0, dy is ignored, dh passes through,
// and what its pre-activations hold is not used, NaN included.
// S is float or bf16. One thread per cell: grid ceil(N*H / 256), 256 threads, no shared memory, no barrier.
#include "cells.cuh"

template <class S>
DEVICE void gru_gates_forward(const float* input_part, const float* hidden_part, const S* h_prev, const int* lengths,
                              S* gates, S* hidden_n, S* h, S* h_n, int t, int N, int H) {
  const int cell = blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= N * H) return;
  const int n = cell / H;
  const size_t at = (size_t)n * 3 * H + cell % H;
  GRUGates gate = {0, 0, 0};
  float out = 0.0f, recurrent = 0.0f;
  if (t < lengths[n]) {
    const float *a = input_part + at, *b = hidden_part + at;
    recurrent = b[2 * H];
    out = gru_cell({a[0], a[H], a[2 * H]}, {b[0], b[H], recurrent}, to_float(h_prev[cell]), gate);
  }
  put(h + cell, out);
  put(hidden_n + cell, recurrent);
  if (t + 1 == lengths[n]) put(h_n + cell, out);
  put(gates + at, gate.r), put(gates + at + H, gate.z), put(gates + at + 2 * H, gate.n);
}

template <class S>
DEVICE void gru_gates_backward(const S* gates, const S* hidden_n, const S* h_prev, const float* dy, const int* lengths,
                               S* dinput, S* dhidden, float* dh, int t, int N, int H) {
  const int cell = blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= N * H) return;
  const int n = cell / H;
  const size_t at = (size_t)n * 3 * H + cell % H;
  GRUGates d = {0, 0, 0};
  float dhidden_n = 0.0f;
  if (t < lengths[n]) {
    const GRUGates gate = {to_float(gates[at]), to_float(gates[at + H]), to_float(gates[at + 2 * H])};
    float dstate = dh[cell] + (dy ? dy[cell] : 0.0f);
    d = gru_cell_backward(gate, to_float(hidden_n[cell]), to_float(h_prev[cell]), dstate, dhidden_n);
    dh[cell] = dstate;
  }
  put(dinput + at, d.r), put(dinput + at + H, d.z), put(dinput + at + 2 * H, d.n);
  put(dhidden + at, d.r), put(dhidden + at + H, d.z), put(dhidden + at + 2 * H, dhidden_n);
}

#define GRU_GATES(suffix, S)                                                                                           \
  KERNEL(gru_gates_forward_##suffix, 256, 8, const float* input_part, const float* hidden_part, const S* h_prev,      \
         const int* lengths, S* gates, S* hidden_n, S* h, S* h_n, int t, int N, int H) {                              \
    gru_gates_forward<S>(input_part, hidden_part, h_prev, lengths, gates, hidden_n, h, h_n, t, N, H);                 \
  }                                                                                                                   \
  KERNEL(gru_gates_backward_##suffix, 256, 8, const S* gates, const S* hidden_n, const S* h_prev, const float* dy,    \
         const int* lengths, S* dinput, S* dhidden, float* dh, int t, int N, int H) {                                 \
    gru_gates_backward<S>(gates, hidden_n, h_prev, dy, lengths, dinput, dhidden, dh, t, N, H);                        \
  }
GRU_GATES(f32, float)
GRU_GATES(bf16, u16)
