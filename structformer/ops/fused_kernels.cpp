// Sparse attention on the CPU, a row at a time: scores, weights and sums of a target while its sources are in the cache.
//
// Tokens and edges come first, heads inside: the vectors of all heads of a token lie side by side, so that a gather
// reads one long stretch of memory. Going forward each source's key and value are read once an edge; going back, key
// and value once by rows, then query and gradient once by columns, so that no two threads write to one place.
// `fused_kernels.py` compiles nothing: this file is built with the package, for several sets of instructions.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "exponential.h"

namespace {

// Vectors of so many edges ahead are asked for: about the time main memory takes. Measured 3, 6, 12, 24.
constexpr std::int64_t kAhead = 12;
// Rows that a thread takes at a time; rows differ in length.
constexpr int kRows = 64;

}  // namespace

// What a kernel is called with; `fused_kernels.py` has the same fields in the same order.
struct Problem {
  std::int64_t doubles, longs;          // types: float64 instead of float32, int64 instead of int32
  std::int64_t threads;
  std::int64_t rows, edges, heads, channels, values;
  const void *rowptr, *col;             // [rows + 1], [edges]
  const std::int64_t* perm;             // [edges] where the numbers of an edge stand, by columns; else null
  const void *query, *key, *value;      // [rows | sources, heads, channels | values], heads side by side
  std::int64_t query_stride, key_stride, value_stride;
  const void* bias;                     // [edges, bias_heads], or null
  std::int64_t bias_heads;
  double scale;
  std::int64_t alpha;                   // twice α: 2 softmax, 3 entmax of 1.5, 4 sparsemax
  double dropout;
  std::uint64_t seed;
  const void *grad_weights;             // [edges, heads], or null
  void *weights, *scores;               // [edges, heads]
  void *out, *other;                    // [rows, heads, channels | values], side by side
};

namespace {

template <typename T>
T* pointer(const void* p) {
  return static_cast<T*>(const_cast<void*>(p));
}

template <typename T, int N>
inline T dot(const T* __restrict a, const T* __restrict b, std::int64_t n) {
  const std::int64_t count = N ? N : n;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename T, int N>
inline void add(T weight, const T* __restrict x, T* __restrict sum, std::int64_t n) {
  const std::int64_t count = N ? N : n;
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) sum[i] += weight * x[i];
}

template <typename T>
inline void fetch(const T* vector, std::int64_t numbers) {
#if defined(__GNUC__)
  const char* byte = reinterpret_cast<const char*>(vector);
  for (std::int64_t i = 0; i < numbers * std::int64_t(sizeof(T)); i += 64) __builtin_prefetch(byte + i);
#endif
}

// Which weights dropout keeps: a number of the seed and of the weight's place alone (splitmix64: Steele, Lea and
// Flood 2014), so that the way back finds the same ones and nothing is stored.
struct Dropout {
  std::uint64_t seed, threshold;
  double factor;

  explicit Dropout(const Problem& p)
      : seed(p.seed), threshold(std::uint64_t(p.dropout * double(1 << 24))), factor(1 / (1 - p.dropout)) {}

  explicit operator bool() const { return threshold != 0; }

  double operator()(std::int64_t place) const {
    std::uint64_t z = seed + (std::uint64_t(place) + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return (z ^ (z >> 31)) >> 40 < threshold ? 0.0 : factor;
  }
};

// Scores of a row, in place, become weights; all heads at once. A row of −inf alone becomes zeros.
template <typename T>
void softmax(T* x, std::int64_t degree, std::int64_t heads, T* largest, T* total) {
  std::fill(largest, largest + heads, -std::numeric_limits<T>::infinity());
  std::fill(total, total + heads, T(0));
  for (std::int64_t j = 0; j < degree; ++j)
    for (std::int64_t h = 0; h < heads; ++h) largest[h] = std::max(largest[h], x[j * heads + h]);
  for (std::int64_t h = 0; h < heads; ++h)
    if (largest[h] == -std::numeric_limits<T>::infinity()) largest[h] = 0;
  for (std::int64_t j = 0; j < degree; ++j)
    for (std::int64_t h = 0; h < heads; ++h) x[j * heads + h] -= largest[h];
#pragma omp simd
  for (std::int64_t n = 0; n < degree * heads; ++n) x[n] = exponential(x[n]);
  for (std::int64_t j = 0; j < degree; ++j)
    for (std::int64_t h = 0; h < heads; ++h) total[h] += x[j * heads + h];
  // With a finite score a row sums to at least exp(0); 1 only stands in for the sum of nothing.
  for (std::int64_t h = 0; h < heads; ++h) total[h] = 1 / std::max(total[h], T(1));
  for (std::int64_t j = 0; j < degree; ++j)
    for (std::int64_t h = 0; h < heads; ++h) x[j * heads + h] *= total[h];
}

// The same for sparsemax (Power 1) and entmax of 1.5 (Power 2): p = (z − τ)₊^Power with Σp = 1, τ by Newton's steps
// on the norm, which rise to the solution from −1 and do not pass it; see `_tau_newton` in `entmax.py`.
template <typename T, int Power>
void entmax(T* x, std::int64_t degree, std::int64_t heads, T* z) {
  for (std::int64_t h = 0; h < heads; ++h) {
    T largest = -std::numeric_limits<T>::infinity();
    for (std::int64_t j = 0; j < degree; ++j) largest = std::max(largest, x[j * heads + h]);
    if (largest == -std::numeric_limits<T>::infinity()) largest = 0;
    for (std::int64_t j = 0; j < degree; ++j) z[j] = (x[j * heads + h] - largest) / Power;
    T tau = -1;
    for (int step = 0; step < 64; ++step) {
      T lower = 0, sum = 0;
#pragma omp simd reduction(+ : lower, sum)
      for (std::int64_t j = 0; j < degree; ++j) {
        const T above = std::max(z[j] - tau, T(0));
        lower += Power == 1 ? T(above > 0) : above;
        sum += Power == 1 ? above : above * above;
      }
      const T norm = Power == 1 ? sum : std::sqrt(sum);
      const T rise = (norm - 1) * sum / (norm * lower);
      if (!(rise > 4 * std::numeric_limits<T>::epsilon())) break;
      tau += rise;
    }
    T total = 0;
    for (std::int64_t j = 0; j < degree; ++j) {
      const T above = z[j] - tau > 0 ? z[j] - tau : (z[j] == z[j] ? T(0) : z[j]);
      z[j] = Power == 1 ? above : above * above;
      total += z[j];
    }
    if (total == 0) total = 1;
    for (std::int64_t j = 0; j < degree; ++j) x[j * heads + h] = z[j] / total;
  }
}

// out[e] = scale · ⟨query, source of e⟩ for the edges of row i.
template <typename T, typename I, int N>
void row_scores(const Problem& p, std::int64_t i, const T* query, const T* source, std::int64_t stride,
                std::int64_t channels, T scale, T* out) {
  const I *rowptr = pointer<const I>(p.rowptr), *col = pointer<const I>(p.col);
  if (N) channels = N;
  for (std::int64_t e = rowptr[i]; e < rowptr[i + 1]; ++e) {
    if (e + kAhead < p.edges) fetch(source + col[e + kAhead] * stride, p.heads * channels);
    const T* other = source + col[e] * stride;
    for (std::int64_t h = 0; h < p.heads; ++h)
      out[e * p.heads + h] = scale * dot<T, N>(query + h * channels, other + h * channels, channels);
  }
}

// out[e] = scale · ⟨query of the edge's row, key of its column⟩.
template <typename T, typename I, int N>
void scores(const Problem& p) {
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t i = 0; i < p.rows; ++i)
    row_scores<T, I, N>(p, i, pointer<const T>(p.query) + i * p.query_stride, pointer<const T>(p.key), p.key_stride,
                        p.channels, T(p.scale), pointer<T>(p.scores));
}

// out[i] = scale · Σ weights of the row's edges times the values of their columns; zero weights read nothing.
template <typename T, typename I, int N>
void sums(const Problem& p) {
  const I *rowptr = pointer<const I>(p.rowptr), *col = pointer<const I>(p.col);
  const T *value = pointer<const T>(p.value), *weights = pointer<const T>(p.weights);
  const std::int64_t values = N ? N : p.values, width = p.heads * values;
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t i = 0; i < p.rows; ++i) {
    T* out = pointer<T>(p.out) + i * width;
    std::fill(out, out + width, T(0));
    for (std::int64_t e = rowptr[i]; e < rowptr[i + 1]; ++e) {
      if (e + kAhead < p.edges) fetch(value + col[e + kAhead] * p.value_stride, width);
      const T* source = value + col[e] * p.value_stride;
      const T* weight = weights + e * p.heads;
      for (std::int64_t h = 0; h < p.heads; ++h)
        if (weight[h] != 0) add<T, N>(T(p.scale) * weight[h], source + h * values, out + h * values, values);
    }
  }
}

// weights = ρ(scale · ⟨query, key⟩ + bias) of every row, out = Σ weights · value.
template <typename T, typename I, int N>
void attend(const Problem& p) {
  const I *rowptr = pointer<const I>(p.rowptr), *col = pointer<const I>(p.col);
  const T *value = pointer<const T>(p.value), *bias = pointer<const T>(p.bias);
  T* weights = pointer<T>(p.weights);
  const std::int64_t heads = p.heads, values = N && p.values ? N : p.values, width = heads * values;
  const Dropout kept(p);
#pragma omp parallel num_threads(p.threads)
  {
    std::vector<T> largest(heads), total(heads), row;
#pragma omp for schedule(dynamic, kRows)
    for (std::int64_t i = 0; i < p.rows; ++i) {
      const std::int64_t begin = rowptr[i], end = rowptr[i + 1];
      row_scores<T, I, N>(p, i, pointer<const T>(p.query) + i * p.query_stride, pointer<const T>(p.key), p.key_stride,
                          p.channels, T(p.scale), weights);
      if (bias && p.bias_heads == heads)
        for (std::int64_t n = begin * heads; n < end * heads; ++n) weights[n] += bias[n];
      else if (bias)
        for (std::int64_t e = begin; e < end; ++e)
          for (std::int64_t h = 0; h < heads; ++h) weights[e * heads + h] += bias[e];
      T* x = weights + begin * heads;
      if (p.alpha == 2) {
        softmax(x, end - begin, heads, largest.data(), total.data());
      } else {
        row.resize(std::max<std::size_t>(row.size(), end - begin));
        p.alpha == 3 ? entmax<T, 2>(x, end - begin, heads, row.data()) : entmax<T, 1>(x, end - begin, heads, row.data());
      }
      if (!width) continue;
      T* out = pointer<T>(p.out) + i * width;
      std::fill(out, out + width, T(0));
      const T* used = x;
      if (kept) {
        row.resize(std::max<std::size_t>(row.size(), (end - begin) * heads));
        for (std::int64_t n = 0; n < (end - begin) * heads; ++n) row[n] = x[n] * T(kept(begin * heads + n));
        used = row.data();
      }
      for (std::int64_t e = begin; e < end; ++e, used += heads) {
        if (e + kAhead < end) fetch(value + col[e + kAhead] * p.value_stride, width);
        const T* source = value + col[e] * p.value_stride;
        for (std::int64_t h = 0; h < heads; ++h)
          if (used[h] != 0) add<T, N>(used[h], source + h * values, out + h * values, values);
      }
    }
  }
}

// Gradients of scores and of the query (out), from that of what was heard (in the place of the query).
template <typename T, typename I, int N>
void attend_backward_rows(const Problem& p) {
  const I *rowptr = pointer<const I>(p.rowptr), *col = pointer<const I>(p.col);
  const T *key = pointer<const T>(p.key), *value = pointer<const T>(p.value);
  const T *weights = pointer<const T>(p.weights), *given = pointer<const T>(p.grad_weights);
  const std::int64_t heads = p.heads, channels = N ? N : p.channels, width = heads * channels;
  const Dropout kept(p);
#pragma omp parallel num_threads(p.threads)
  {
    std::vector<T> mean(heads), total(heads), row;
#pragma omp for schedule(dynamic, kRows)
    for (std::int64_t i = 0; i < p.rows; ++i) {
      const std::int64_t begin = rowptr[i], end = rowptr[i + 1], first = begin * heads, count = (end - begin) * heads;
      T* grad = pointer<T>(p.scores) + first;
      if (p.query && p.values)
        row_scores<T, I, N>(p, i, pointer<const T>(p.query) + i * p.query_stride, value, p.value_stride, p.values,
                            T(1), pointer<T>(p.scores));
      else
        std::fill(grad, grad + count, T(0));
      if (kept)
        for (std::int64_t n = 0; n < count; ++n) grad[n] *= T(kept(first + n));
      if (given)
        for (std::int64_t n = 0; n < count; ++n) grad[n] += given[first + n];
      // ∂p/∂s = diag(r) − r rᵀ / Σr with r = p^(2 − α) where p > 0; for softmax r is p, which sums to one.
      const T* r = weights + first;
      if (p.alpha != 2) {
        row.resize(std::max<std::size_t>(row.size(), count));
        for (std::int64_t n = 0; n < count; ++n) row[n] = r[n] == 0 ? T(0) : p.alpha == 3 ? std::sqrt(r[n]) : T(1);
        r = row.data();
      }
      std::fill(mean.begin(), mean.end(), T(0));
      std::fill(total.begin(), total.end(), T(0));
      for (std::int64_t n = 0; n < count; n += heads)
        for (std::int64_t h = 0; h < heads; ++h) {
          mean[h] += r[n + h] * grad[n + h];
          total[h] += r[n + h];
        }
      for (std::int64_t h = 0; h < heads; ++h)
        if (p.alpha != 2 && total[h] != 0) mean[h] /= total[h];
      T* out = pointer<T>(p.out) + i * width;
      std::fill(out, out + width, T(0));
      for (std::int64_t e = begin; e < end; ++e, grad += heads, r += heads) {
        if (e + kAhead < end) fetch(key + col[e + kAhead] * p.key_stride, width);
        const T* source = key + col[e] * p.key_stride;
        for (std::int64_t h = 0; h < heads; ++h) {
          grad[h] = r[h] * (grad[h] - mean[h]);
          if (grad[h] != 0) add<T, N>(T(p.scale) * grad[h], source + h * channels, out + h * channels, channels);
        }
      }
    }
  }
}

// Gradients of key (out) and value (other): by columns, whose edges' numbers stand where perm says. The query is in
// the place of the key, and the gradient of what was heard in that of the value.
template <typename T, typename I, int N>
void attend_backward_columns(const Problem& p) {
  const I *rowptr = pointer<const I>(p.rowptr), *col = pointer<const I>(p.col);
  const T *query = pointer<const T>(p.key), *heard = pointer<const T>(p.value);
  const T *weights = pointer<const T>(p.weights), *grad = pointer<const T>(p.scores);
  const std::int64_t heads = p.heads, channels = N ? N : p.channels, values = N && p.values ? N : p.values;
  const Dropout kept(p);
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t i = 0; i < p.rows; ++i) {
    T *to_key = pointer<T>(p.out) + i * heads * channels, *to_value = pointer<T>(p.other) + i * heads * values;
    std::fill(to_key, to_key + heads * channels, T(0));
    std::fill(to_value, to_value + heads * values, T(0));
    for (std::int64_t e = rowptr[i]; e < rowptr[i + 1]; ++e) {
      if (e + kAhead < p.edges) {
        fetch(query + col[e + kAhead] * p.key_stride, heads * channels);
        if (heard) fetch(heard + col[e + kAhead] * p.value_stride, heads * values);
        fetch(weights + p.perm[e + kAhead] * heads, heads);
        fetch(grad + p.perm[e + kAhead] * heads, heads);
      }
      const T *target = query + col[e] * p.key_stride, *change = heard + (heard ? col[e] * p.value_stride : 0);
      for (std::int64_t h = 0; h < heads; ++h) {
        const std::int64_t n = p.perm[e] * heads + h;
        if (grad[n] != 0) add<T, N>(T(p.scale) * grad[n], target + h * channels, to_key + h * channels, channels);
        const T weight = !heard ? T(0) : kept ? weights[n] * T(kept(n)) : weights[n];
        if (weight != 0) add<T, N>(weight, change + h * values, to_value + h * values, values);
      }
    }
  }
}

// weights become those that dropout keeps, scaled up.
template <typename T>
void drop(const Problem& p) {
  const Dropout kept(p);
  T* weights = pointer<T>(p.weights);
#pragma omp parallel for num_threads(p.threads)
  for (std::int64_t n = 0; n < p.edges * p.heads; ++n) weights[n] *= T(kept(n));
}

template <int N>
struct Number {
  static constexpr int value = N;
};

// Call with the problem's types and, where loops over channels are worth unrolling, their number.
template <typename Kernel>
void dispatch(const Problem& p, Kernel kernel) {
  const auto by_channels = [&](auto real, auto index) {
    const std::int64_t n = !p.values || p.values == p.channels ? p.channels : p.channels ? 0 : p.values;
    switch (n) {
      case 8: return kernel(real, index, Number<8>{});
      case 16: return kernel(real, index, Number<16>{});
      case 32: return kernel(real, index, Number<32>{});
      case 64: return kernel(real, index, Number<64>{});
      default: return kernel(real, index, Number<0>{});
    }
  };
  if (p.doubles)
    p.longs ? by_channels(double{}, std::int64_t{}) : by_channels(double{}, std::int32_t{});
  else
    p.longs ? by_channels(float{}, std::int64_t{}) : by_channels(float{}, std::int32_t{});
}

}  // namespace

#define KERNEL(name)                                                                              \
  EXPORT void structformer_##name(const Problem* p) {                                             \
    dispatch(*p, [&](auto real, auto index, auto n) {                                             \
      name<decltype(real), decltype(index), decltype(n)::value>(*p);                              \
    });                                                                                           \
  }

KERNEL(scores)
KERNEL(sums)
KERNEL(attend)
KERNEL(attend_backward_rows)
KERNEL(attend_backward_columns)

EXPORT void structformer_drop(const Problem* p) { p->doubles ? drop<double>(*p) : drop<float>(*p); }
