// One step of an LSTM decoder beside its products, for R rows: what it has said goes in, the states move to the rows
// that continue them, and the gates of a layer become its next states. S is float or bf16, the products' operand type.
//
//   inputs  [L+1,R,W] S     the operands [x; h] of the layers, and last the operand of the output layer. W = X + H with
//                           X = max(E, H); x ends where h begins, at column X, so h of layer l after a step is columns
//                           X - H .. X of inputs[l + 1], where the next layer reads its x
//   c, c_prev [L,R,H] f32   after and before a step
//   words, parents [R] i32  what each row says next, and the row whose state it continues
//
// decoder_start:   h0, c0 [L,N,H] f32 -> the states after step -1 of row n K of sentence n; all K rows of a sentence
//                  continue it and say `start`; *step = -1, owner[n] = n, going[n] = 1. grid (N, L), 128 threads
// decoder_gather:  embedding [V,E] f32 -> x of layer 0; h and c_prev of every layer from row parents[r]; *step += 1.
//                  grid (rows, L + 1), 128 threads; rows <= R: those in use
// decoder_cell:    pre [rows,4H] f32 (the product of layer l, blocks i f g o), bias [4H], c_prev -> c, h of layer l;
//                  grid ceil(rows * H / 256), 256 threads
//
// No barriers: nothing that a launch writes is read by the same launch. Oracle: kernels/reference/decoding.py.
#include "recurrent/cells.cuh"

template <class S>
DEVICE void decoder_start(const float* h0, const float* c0, S* inputs, float* c, int* words, int* parents, int* owner,
                          int* going, int* step, int R, int K, int H, int W, int start) {
  const int n = blockIdx.x, layer = blockIdx.y, N = gridDim.x;
  const size_t from = ((size_t)layer * N + n) * H, row = (size_t)n * K;
  S* h = inputs + ((size_t)(layer + 1) * R + row) * W + W - 2 * H;
  for (int u = threadIdx.x; u < H; u += blockDim.x) {
    put(h + u, h0[from + u]);
    c[((size_t)layer * R + row) * H + u] = c0[from + u];
  }
  if (layer > 0) return;
  for (int k = threadIdx.x; k < K; k += blockDim.x) words[row + k] = start, parents[row + k] = (int)row;
  if (threadIdx.x == 0) owner[n] = n, going[n] = 1;
  if (threadIdx.x == 0 && n == 0) *step = -1;
}

template <class S>
DEVICE void decoder_gather(const float* embedding, S* inputs, const float* c, float* c_prev, const int* words,
                           const int* parents, int* step, int R, int E, int H, int W) {
  const int row = blockIdx.x, layer = blockIdx.y, L = gridDim.y - 1, X = W - H;
  if (layer == L) {
    const float* said = embedding + (size_t)words[row] * E;
    for (int e = threadIdx.x; e < E; e += blockDim.x) put(inputs + (size_t)row * W + X - E + e, said[e]);
    if (row == 0 && threadIdx.x == 0) ++*step;
    return;
  }
  const size_t parent = parents[row];
  const S* from = inputs + ((size_t)(layer + 1) * R + parent) * W + X - H;
  S* to = inputs + ((size_t)layer * R + row) * W + X;
  const size_t state = (size_t)layer * R * H;
  for (int u = threadIdx.x; u < H; u += blockDim.x) {
    to[u] = from[u];
    c_prev[state + (size_t)row * H + u] = c[state + parent * H + u];
  }
}

template <class S>
DEVICE void decoder_cell(const float* pre, const float* bias, const float* c_prev, float* c, S* inputs, int layer,
                         int rows, int R, int H, int W) {
  const u64 cell = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (cell >= (u64)rows * H) return;
  const int row = (int)(cell / H), unit = (int)(cell % H);
  const float *a = pre + (size_t)row * 4 * H + unit, *b = bias + unit;
  const size_t state = ((size_t)layer * R + row) * H + unit;
  LSTMGates gate;
  float next = c_prev[state];
  const float h = lstm_cell({a[0] + b[0], a[H] + b[H], a[2 * H] + b[2 * H], a[3 * H] + b[3 * H]}, next, gate);
  c[state] = next;
  put(inputs + ((size_t)(layer + 1) * R + row) * W + W - 2 * H + unit, h);
}

#define DECODER(suffix, S)                                                                                             \
  KERNEL(decoder_start_##suffix, 128, 8, const float* h0, const float* c0, S* inputs, float* c, int* words,           \
         int* parents, int* owner, int* going, int* step, int R, int K, int H, int W, int start) {                    \
    decoder_start<S>(h0, c0, inputs, c, words, parents, owner, going, step, R, K, H, W, start);                       \
  }                                                                                                                   \
  KERNEL(decoder_gather_##suffix, 128, 8, const float* embedding, S* inputs, const float* c, float* c_prev,           \
         const int* words, const int* parents, int* step, int R, int E, int H, int W) {                               \
    decoder_gather<S>(embedding, inputs, c, c_prev, words, parents, step, R, E, H, W);                                \
  }                                                                                                                   \
  KERNEL(decoder_cell_##suffix, 256, 8, const float* pre, const float* bias, const float* c_prev, float* c,           \
         S* inputs, int layer, int rows, int R, int H, int W) {                                                       \
    decoder_cell<S>(pre, bias, c_prev, c, inputs, layer, rows, R, H, W);                                              \
  }
DECODER(f32, float)
DECODER(bf16, u16)
