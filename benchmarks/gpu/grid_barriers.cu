// `rounds` barriers of the whole grid, for comparison with flag_barriers of ceilings.cu; a file of its own, since its header
// needs a CUDA toolkit, which nothing else does. Cooperative.
#define USE_GRID_SYNC
#include "runtime/device.cuh"

KERNEL(grid_barriers, 256, 1, const u32* word, int rounds) {
  for (int t = 0; t < rounds && word; t++) grid_sync();
}
