// Sparse attention on the CPU, a row at a time: scores, weights and sums of a target while its sources are in the cache.
//
// Tokens and edges come first, heads inside: the vectors of all heads of a token lie side by side, so that a gather
// reads one long stretch of memory. Going forward each source's key and value are read once an edge; going back, key
// and value once by rows, then query and gradient once by columns, so that no two threads write to one place.
// `fused_kernels.py` compiles nothing: this file is built with the package, for several sets of instructions.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
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
  std::int64_t far;                     // whether vectors lie in main memory rather than in a cache
  const void *rowptr, *col;             // [rows + 1], [edges]
  const std::int64_t* perm;             // [edges] where the numbers of an edge stand, by columns; else null
  const std::int64_t *order, *start;    // [rows] the row whose edges rowptr and col hold at each turn, and where its
                                        // numbers begin; null where turns are rows
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

// Which row has its turn, where its edges stand in col, and where their numbers do.
template <typename I>
struct Row {
  std::int64_t i, begin, end, first;

  // A column's numbers stand where perm says: there start is null.
  Row(const Problem& p, std::int64_t turn)
      : i(p.order ? p.order[turn] : turn),
        begin(pointer<const I>(p.rowptr)[turn]),
        end(pointer<const I>(p.rowptr)[turn + 1]),
        first(p.start ? p.start[turn] : begin) {}
};

// A vector a token and head: [tokens, heads, channels], tokens apart by a stride.
template <typename T>
struct Vectors {
  const T* data = nullptr;
  std::int64_t stride = 0, width = 0;

  Vectors() = default;
  Vectors(const void* data, std::int64_t stride, std::int64_t heads, std::int64_t channels)
      : data(pointer<const T>(data)), stride(stride), width(heads * channels) {}

  explicit operator bool() const { return data && width; }
  const T* operator[](std::int64_t token) const { return data + token * stride; }
  void ask(std::int64_t token) const { fetch(data + token * stride, width); }
};

// out[e] = scale · ⟨query, source of e⟩ for the edges of a row. What the row will read of its sources next is asked for
// as well if that is far: by then the first of them would come too late.
template <typename T, typename I, int N>
void row_scores(const Problem& p, const Row<I>& row, const T* query, const Vectors<T>& source, const Vectors<T>& next,
                T scale, T* out) {
  const I* col = pointer<const I>(p.col);
  const std::int64_t channels = N ? N : source.width / p.heads;
  const bool ask_next = next && p.far;
  for (std::int64_t e = row.begin; e < row.end; ++e, out += p.heads) {
    if (e + kAhead < p.edges) {
      source.ask(col[e + kAhead]);
      if (ask_next) next.ask(col[e + kAhead]);
    }
    const T* other = source[col[e]];
    for (std::int64_t h = 0; h < p.heads; ++h)
      out[h] = scale * dot<T, N>(query + h * channels, other + h * channels, channels);
  }
}

// Where turns jump about in memory, ask for what the row after the next reads and writes of its own: vectors of its
// token and the numbers of its edges.
template <typename T, typename I>
void ask_ahead(const Problem& p, std::int64_t turn, std::initializer_list<Vectors<T>> vectors,
               std::initializer_list<const void*> numbers) {
  if (!p.order || turn + 2 >= p.rows) return;
  const Row<I> row(p, turn + 2);
  for (const Vectors<T>& of : vectors)
    if (of) of.ask(row.i);
  for (const void* all : numbers) fetch(pointer<const T>(all) + row.first * p.heads, (row.end - row.begin) * p.heads);
}

// out[i] = scale · Σ weights of the row's edges times their sources; zero weights read nothing. Sources of edges before
// `until` are asked for.
template <typename T, typename I, int N>
void row_sum(const Problem& p, const Row<I>& row, const T* weights, const Vectors<T>& source, std::int64_t until,
             T scale, T* out) {
  const I* col = pointer<const I>(p.col);
  const std::int64_t channels = N ? N : source.width / p.heads;
  out += row.i * source.width;
  std::fill(out, out + source.width, T(0));
  for (std::int64_t e = row.begin; e < row.end; ++e, weights += p.heads) {
    if (e + kAhead < until) source.ask(col[e + kAhead]);
    const T* other = source[col[e]];
    for (std::int64_t h = 0; h < p.heads; ++h)
      if (weights[h] != 0) add<T, N>(scale * weights[h], other + h * channels, out + h * channels, channels);
  }
}

// out[e] = scale · ⟨query of the edge's row, key of its column⟩.
template <typename T, typename I, int N>
void scores(const Problem& p) {
  const Vectors<T> query(p.query, p.query_stride, p.heads, p.channels), key(p.key, p.key_stride, p.heads, p.channels);
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t turn = 0; turn < p.rows; ++turn) {
    const Row<I> row(p, turn);
    row_scores<T, I, N>(p, row, query[row.i], key, {}, T(p.scale), pointer<T>(p.scores) + row.first * p.heads);
  }
}

// out[i] = scale · Σ weights of the row's edges times the values of their columns; zero weights read nothing.
template <typename T, typename I, int N>
void sums(const Problem& p) {
  const Vectors<T> value(p.value, p.value_stride, p.heads, p.values);
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t turn = 0; turn < p.rows; ++turn) {
    const Row<I> row(p, turn);
    const T* weights = pointer<const T>(p.weights) + row.first * p.heads;
    row_sum<T, I, N>(p, row, weights, value, p.edges, T(p.scale), pointer<T>(p.out));
  }
}

// weights = ρ(scale · ⟨query, key⟩ + bias) of every row, out = Σ weights · value.
template <typename T, typename I, int N>
void attend(const Problem& p) {
  const std::int64_t heads = p.heads;
  const Vectors<T> query(p.query, p.query_stride, heads, p.channels), key(p.key, p.key_stride, heads, p.channels);
  const Vectors<T> value(p.value, p.value_stride, heads, p.values), none;
  const Vectors<T> out(p.out, value.width, heads, p.values);
  const T* bias = pointer<const T>(p.bias);
  const Dropout kept(p);
#pragma omp parallel num_threads(p.threads)
  {
    std::vector<T> largest(heads), total(heads), scratch;
#pragma omp for schedule(dynamic, kRows)
    for (std::int64_t turn = 0; turn < p.rows; ++turn) {
      const Row<I> row(p, turn);
      const std::int64_t degree = row.end - row.begin, count = degree * heads;
      ask_ahead<T, I>(p, turn, {query, out}, {p.weights});
      scratch.resize(std::max<std::size_t>(scratch.size(), count));
      T* x = pointer<T>(p.weights) + row.first * heads;
      // Sparse weights leave most values unread.
      row_scores<T, I, N>(p, row, query[row.i], key, p.alpha == 2 ? value : none, T(p.scale), x);
      if (bias && p.bias_heads == heads)
        for (std::int64_t n = 0; n < count; ++n) x[n] += bias[row.first * heads + n];
      else if (bias)
        for (std::int64_t j = 0; j < degree; ++j)
          for (std::int64_t h = 0; h < heads; ++h) x[j * heads + h] += bias[row.first + j];
      switch (p.alpha) {
        case 2: softmax(x, degree, heads, largest.data(), total.data()); break;
        case 3: entmax<T, 2>(x, degree, heads, scratch.data()); break;
        default: entmax<T, 1>(x, degree, heads, scratch.data());
      }
      if (!p.values) continue;
      const T* used = x;
      if (kept) {
        for (std::int64_t n = 0; n < count; ++n) scratch[n] = x[n] * T(kept(row.first * heads + n));
        used = scratch.data();
      }
      row_sum<T, I, N>(p, row, used, value, row.end, T(1), pointer<T>(p.out));
    }
  }
}

// Gradients of scores and of the query (out), from that of what was heard (in the place of the query).
template <typename T, typename I, int N>
void attend_backward_rows(const Problem& p) {
  const std::int64_t heads = p.heads;
  const Vectors<T> heard(p.query, p.query_stride, heads, p.values), value(p.value, p.value_stride, heads, p.values);
  const Vectors<T> key(p.key, p.key_stride, heads, p.channels), out(p.out, key.width, heads, p.channels);
  const T* given = pointer<const T>(p.grad_weights);
  const Dropout kept(p);
#pragma omp parallel num_threads(p.threads)
  {
    std::vector<T> mean(heads), total(heads), root;
#pragma omp for schedule(dynamic, kRows)
    for (std::int64_t turn = 0; turn < p.rows; ++turn) {
      const Row<I> row(p, turn);
      const std::int64_t first = row.first * heads, count = (row.end - row.begin) * heads;
      T* grad = pointer<T>(p.scores) + first;
      ask_ahead<T, I>(p, turn, {heard, out}, {p.weights, p.scores});
      if (heard)
        row_scores<T, I, N>(p, row, heard[row.i], value, key, T(1), grad);
      else
        std::fill(grad, grad + count, T(0));
      if (kept)
        for (std::int64_t n = 0; n < count; ++n) grad[n] *= T(kept(first + n));
      if (given)
        for (std::int64_t n = 0; n < count; ++n) grad[n] += given[first + n];
      // ∂p/∂s = diag(r) − r rᵀ / Σr with r = p^(2 − α) where p > 0; for softmax r is p, which sums to one.
      const T* r = pointer<const T>(p.weights) + first;
      if (p.alpha != 2) {
        root.resize(std::max<std::size_t>(root.size(), count));
        for (std::int64_t n = 0; n < count; ++n) root[n] = r[n] == 0 ? T(0) : p.alpha == 3 ? std::sqrt(r[n]) : T(1);
        r = root.data();
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
      for (std::int64_t n = 0; n < count; n += heads)
        for (std::int64_t h = 0; h < heads; ++h) grad[n + h] = r[n + h] * (grad[n + h] - mean[h]);
      row_sum<T, I, N>(p, row, grad, key, row.end, T(p.scale), pointer<T>(p.out));
    }
  }
}

// Gradients of key (out) and value (other): by columns, whose edges' numbers stand where perm says. The query is in
// the place of the key, and the gradient of what was heard in that of the value.
template <typename T, typename I, int N>
void attend_backward_columns(const Problem& p) {
  const I* col = pointer<const I>(p.col);
  const T *weights = pointer<const T>(p.weights), *grad = pointer<const T>(p.scores);
  const std::int64_t heads = p.heads, channels = N ? N : p.channels, values = N && p.values ? N : p.values;
  const Vectors<T> query(p.key, p.key_stride, heads, channels), heard(p.value, p.value_stride, heads, values);
  const Vectors<T> grad_key(p.out, query.width, heads, channels), grad_value(p.other, heard.width, heads, values);
  const Dropout kept(p);
#pragma omp parallel for schedule(dynamic, kRows) num_threads(p.threads)
  for (std::int64_t turn = 0; turn < p.rows; ++turn) {
    const Row<I> row(p, turn);
    ask_ahead<T, I>(p, turn, {grad_key, grad_value}, {});
    T *to_key = pointer<T>(p.out) + row.i * grad_key.width, *to_value = pointer<T>(p.other) + row.i * grad_value.width;
    std::fill(to_key, to_key + grad_key.width, T(0));
    std::fill(to_value, to_value + grad_value.width, T(0));
    for (std::int64_t e = row.begin; e < row.end; ++e) {
      if (e + kAhead < p.edges) {
        query.ask(col[e + kAhead]);
        if (heard) heard.ask(col[e + kAhead]);
        fetch(weights + p.perm[e + kAhead] * heads, heads);
        fetch(grad + p.perm[e + kAhead] * heads, heads);
      }
      const T *target = query[col[e]], *change = heard ? heard[col[e]] : nullptr;
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
