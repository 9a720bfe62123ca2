// The part of cuBLAS that kernels/cuda/runtime/cublas.py binds, on the processor: the same names, arguments and column-major
// matrices. Sums run over k in ascending order, in float32, whatever the size.
//
// Like the original it forgets the workspace when a stream is set; unlike it, it refuses to be captured without one.
// `standin_on_gemm` sets a function that is asked before every product whether the stream records: then the call is
// kept, and `standin_replay` does it.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, INTERNAL_ERROR = 14, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16BF = 14, COMPUTE_32F = 68, COMPUTE_32F_PEDANTIC = 69, COMPUTE_32F_FAST_TF32 = 77 };

struct Handle {
  void* stream = nullptr;
  void* workspace = nullptr;
};

struct Gemm {
  bool transpose_a, transpose_b;
  int m, n, k, type, lda, ldb, type_c, ldc, compute;
  float alpha, beta;
  const void *a, *b;
  void* c;
};

std::vector<Gemm> recorded;
int (*on_gemm)(void* stream, int number) = nullptr;

float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
uint32_t to_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}
float to_tf32(float x) { return x != x ? x : from_bits((to_bits(x) + 0x1000u) & 0xFFFFE000u); }  // nearest, ties away
uint16_t to_bf16(float x) {
  const uint32_t b = to_bits(x);
  return x != x ? 0x7FFF : uint16_t((b + 0x7FFF + (b >> 16 & 1)) >> 16);
}

// Element i of memory of a type, as a product of this kind reads it.
float element(const void* p, size_t i, int type, int compute) {
  if (type == R_16BF) return from_bits(uint32_t(((const uint16_t*)p)[i]) << 16);
  const float x = ((const float*)p)[i];
  return compute == COMPUTE_32F_FAST_TF32 ? to_tf32(x) : x;
}

// op(matrix) as float32, `rows` consecutive numbers for each of `columns`.
std::vector<float> packed(const void* p, int ld, bool transpose, int rows, int columns, int type, int compute) {
  std::vector<float> out(size_t(rows) * columns);
  for (int c = 0; c < columns; c++)
    for (int r = 0; r < rows; r++)
      out[size_t(c) * rows + r] = element(p, transpose ? size_t(r) * ld + c : size_t(c) * ld + r, type, compute);
  return out;
}

constexpr int TILE = 8;  // columns of c that share one pass over a

void compute(const Gemm& g) {
  const std::vector<float> a = packed(g.a, g.lda, g.transpose_a, g.m, g.k, g.type, g.compute);
  const std::vector<float> b = packed(g.b, g.ldb, g.transpose_b, g.k, g.n, g.type, g.compute);
  std::vector<float> sums(size_t(g.m) * TILE);
  for (int first = 0; first < g.n; first += TILE) {
    const int count = g.n - first < TILE ? g.n - first : TILE;
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (int k = 0; k < g.k; k++)
      for (int j = 0; j < count; j++) {
        const float factor = b[size_t(first + j) * g.k + k];
        const float* column = &a[size_t(k) * g.m];
        float* sum = &sums[size_t(j) * g.m];
        for (int i = 0; i < g.m; i++) sum[i] += column[i] * factor;
      }
    for (int j = 0; j < count; j++)
      for (int i = 0; i < g.m; i++) {
        const size_t at = size_t(first + j) * g.ldc + i;
        float value = g.alpha * sums[size_t(j) * g.m + i];
        if (g.beta != 0) value += g.beta * element(g.c, at, g.type_c, COMPUTE_32F);  // else c may hold anything
        if (g.type_c == R_16BF) ((uint16_t*)g.c)[at] = to_bf16(value);
        else ((float*)g.c)[at] = value;
      }
  }
}

}  // namespace

extern "C" {

void standin_on_gemm(int (*function)(void*, int)) { on_gemm = function; }
void standin_replay(int number) { compute(recorded[number]); }

int cublasCreate_v2(void** handle) {
  *handle = new Handle;
  return SUCCESS;
}
int cublasDestroy_v2(void* handle) {
  delete (Handle*)handle;
  return SUCCESS;
}
int cublasSetStream_v2(void* handle, void* stream) {
  if (!handle) return NOT_INITIALIZED;
  ((Handle*)handle)->stream = stream, ((Handle*)handle)->workspace = nullptr;
  return SUCCESS;
}
int cublasSetWorkspace_v2(void* handle, void* workspace, size_t size) {
  if (!handle) return NOT_INITIALIZED;
  if (uintptr_t(workspace) % 256) return INVALID_VALUE;
  ((Handle*)handle)->workspace = size ? workspace : nullptr;
  return SUCCESS;
}
int cublasSetMathMode(void* handle, int) { return handle ? SUCCESS : NOT_INITIALIZED; }

int cublasGemmEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a, int type_a,
                 int lda, const void* b, int type_b, int ldb, const void* beta, void* c, int type_c, int ldc,
                 int compute_type, int) {
  if (!handle) return NOT_INITIALIZED;
  const bool transpose_a = op_a == 1, transpose_b = op_b == 1;
  if (op_a > 1 || op_b > 1 || m < 0 || n < 0 || k < 0) return INVALID_VALUE;
  if (lda < (transpose_a ? k : m) || ldb < (transpose_b ? n : k) || ldc < m) return INVALID_VALUE;
  if (type_a != type_b || (type_a != R_32F && type_a != R_16BF) || (type_c != R_32F && type_c != type_a) ||
      (compute_type != COMPUTE_32F && compute_type != COMPUTE_32F_PEDANTIC && compute_type != COMPUTE_32F_FAST_TF32))
    return NOT_SUPPORTED;
  const Gemm gemm = {transpose_a, transpose_b, m,   n,    k,           type_a, lda, ldb, type_c, ldc, compute_type,
                     *(const float*)alpha, *(const float*)beta, a, b, c};
  recorded.push_back(gemm);
  if (on_gemm && on_gemm(((Handle*)handle)->stream, int(recorded.size()) - 1))
    return ((Handle*)handle)->workspace ? SUCCESS : INTERNAL_ERROR;
  recorded.pop_back();
  compute(gemm);
  return SUCCESS;
}

int cublasGemmStridedBatchedEx(void* handle, int op_a, int op_b, int m, int n, int k, const void* alpha, const void* a,
                               int type_a, int lda, long long stride_a, const void* b, int type_b, int ldb,
                               long long stride_b, const void* beta, void* c, int type_c, int ldc, long long stride_c,
                               int count, int compute_type, int algorithm) {
  const int size = type_a == R_16BF ? 2 : 4, size_c = type_c == R_16BF ? 2 : 4;
  for (int item = 0; item < count; item++) {
    const int status = cublasGemmEx(handle, op_a, op_b, m, n, k, alpha, (const char*)a + item * stride_a * size, type_a,
                                    lda, (const char*)b + item * stride_b * size, type_b, ldb, beta,
                                    (char*)c + item * stride_c * size_c, type_c, ldc, compute_type, algorithm);
    if (status != SUCCESS) return status;
  }
  return SUCCESS;
}
}
