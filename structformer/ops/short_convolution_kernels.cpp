// The short convolution on the CPU: each token mixed with the few before it, in one pass over memory each way.
//
// Tokens lie behind what their set was told earlier, [size - 1] inputs a set, as if in one line. The line is never made:
// where a token's past lies is found for each token.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "exponential.h"

// What a kernel is called with; `short_convolution.py` has the same fields in the same order.
struct ConvolutionProblem {
  std::int64_t doubles, threads;     // float64 instead of float32
  std::int64_t sets, tokens, width, size;
  const std::int64_t* ptr;           // [sets + 1]
  const void *h, *weight, *state;    // [tokens, width], [size, width], [sets, size - 1, width]
  void *out, *after;                 // as h and state
  const void *grad_out, *grad_after; // null for zeros
  void *to_h, *to_weight, *to_state;
};

namespace {

// Tokens that a thread takes at a time. Sums over tokens are taken of so many, and then of these sums, so that they do
// not depend on the threads.
constexpr std::int64_t kTokens = 128;

template <typename T>
T* rows(const void* p) {
  return static_cast<T*>(const_cast<void*>(p));
}

// Call `row` for the tokens of each part: token, first token and end of its set, the set, and the part's number.
template <typename Visit>
void each_token(const ConvolutionProblem& p, Visit visit) {
  const std::int64_t parts = (p.tokens + kTokens - 1) / kTokens;
#pragma omp parallel for num_threads(p.threads) if (parts > 1)
  for (std::int64_t part = 0; part < parts; ++part) {
    std::int64_t t = part * kTokens;
    const std::int64_t stop = std::min(p.tokens, t + kTokens);
    std::int64_t set = std::upper_bound(p.ptr, p.ptr + p.sets + 1, t) - p.ptr - 1;
    for (; t < stop; ++t) {
      while (t >= p.ptr[set + 1]) ++set;
      visit(t, p.ptr[set], p.ptr[set + 1], set, part);
    }
  }
}

// The input at some place of a set; before its first token, what it was told earlier.
template <typename T>
inline T* input(const ConvolutionProblem& p, const void* h, const void* state, std::int64_t set, std::int64_t begin,
                std::int64_t t) {
  const std::int64_t past = p.size - 1;
  return t >= begin ? rows<T>(h) + t * p.width : rows<T>(state) + (set * past + past + t - begin) * p.width;
}

template <typename T>
inline void add(std::int64_t width, const T* __restrict a, const T* __restrict b, T* __restrict sum) {
#pragma omp simd
  for (std::int64_t c = 0; c < width; ++c) sum[c] += a[c] * b[c];
}

template <typename T>
void forward(const ConvolutionProblem& p) {
  const std::int64_t past = p.size - 1, width = p.width;
  const T* weight = rows<T>(p.weight);
  each_token(p, [&](std::int64_t t, std::int64_t begin, std::int64_t, std::int64_t set, std::int64_t) {
    T* out = rows<T>(p.out) + t * width;
    std::fill(out, out + width, T(0));
    for (std::int64_t d = 0; d < p.size; ++d)
      add(width, weight + d * width, input<T>(p, p.h, p.state, set, begin, t - d), out);
  });
  for (std::int64_t set = 0; set < p.sets; ++set)
    for (std::int64_t j = 0; j < past; ++j) {
      const T* from = input<T>(p, p.h, p.state, set, p.ptr[set], p.ptr[set + 1] - past + j);
      std::copy(from, from + width, rows<T>(p.after) + (set * past + j) * width);
    }
}

template <typename T>
void backward(const ConvolutionProblem& p) {
  const std::int64_t past = p.size - 1, width = p.width, parts = (p.tokens + kTokens - 1) / kTokens;
  const T *weight = rows<T>(p.weight), *change = rows<T>(p.grad_out);
  std::vector<T> sums(parts * p.size * width);
  // Of the input at place t, which later tokens heard, and which may be among the last that are handed on.
  const auto back = [&](std::int64_t t, std::int64_t begin, std::int64_t end, std::int64_t set) {
    T* to = input<T>(p, p.to_h, p.to_state, set, begin, t);
    std::fill(to, to + width, T(0));
    for (std::int64_t d = 0; change && d < p.size; ++d)
      if (t + d >= begin && t + d < end) add(width, weight + d * width, change + (t + d) * width, to);
    if (p.grad_after && t >= end - past) {
      const T* last = rows<T>(p.grad_after) + (set * past + t - end + past) * width;
      for (std::int64_t c = 0; c < width; ++c) to[c] += last[c];
    }
  };
  each_token(p, [&](std::int64_t t, std::int64_t begin, std::int64_t end, std::int64_t set, std::int64_t part) {
    back(t, begin, end, set);
    for (std::int64_t d = 0; change && d < p.size; ++d)
      add(width, change + t * width, input<T>(p, p.h, p.state, set, begin, t - d),
          sums.data() + (part * p.size + d) * width);
  });
  for (std::int64_t set = 0; set < p.sets; ++set)
    for (std::int64_t t = p.ptr[set] - past; t < p.ptr[set]; ++t) back(t, p.ptr[set], p.ptr[set + 1], set);
  T* to = rows<T>(p.to_weight);
  std::fill(to, to + p.size * width, T(0));
  for (std::int64_t part = 0; part < parts; ++part)
    for (std::int64_t n = 0; n < p.size * width; ++n) to[n] += sums[part * p.size * width + n];
}

}  // namespace

EXPORT void structformer_short_convolution(const ConvolutionProblem* p) {
  p->doubles ? forward<double>(*p) : forward<float>(*p);
}

EXPORT void structformer_short_convolution_backward(const ConvolutionProblem* p) {
  p->doubles ? backward<double>(*p) : backward<float>(*p);
}
