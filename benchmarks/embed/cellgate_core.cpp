// cellgate as step_times calls it: Frames of the C++ core.
#include <optional>

#include "contender.h"
#include "run/frames.hpp"

namespace {

struct Running {
  explicit Running(const cellgate::NetworkDescription<float>& description)
      : network(description), memory(cellgate::frames_bytes(network)) {
    cellgate::Arena arena(memory.data());
    frames.emplace(arena, network);
    frames->reset();
  }

  cellgate::Network<float> network;
  cellgate::AlignedBuffer<std::byte> memory;
  std::optional<cellgate::Frames<float>> frames;
};

cellgate::Values<float> values(const float* first, std::ptrdiff_t count) {
  return cellgate::Values<float>(std::vector<float>(first, first + count));
}

void* create(const ContenderWeights* w) {
  const std::ptrdiff_t hidden = w->hidden_size;
  cellgate::NetworkDescription<float> d;
  d.config.input_size = 1;
  d.config.hidden_size = hidden;
  d.config.num_layers = 1;
  d.layers.resize(1);
  d.layers[0].w_ih = values(w->w_ih, 4 * hidden);
  d.layers[0].w_hh = values(w->w_hh, 4 * hidden * hidden);
  d.layers[0].b_ih = values(w->bias, 4 * hidden);
  d.layers[0].b_hh = cellgate::Values<float>(std::vector<float>(static_cast<std::size_t>(4 * hidden)));
  d.head.emplace();
  d.head->outputs = 1;
  d.head->weight = values(w->head, hidden);
  d.head->bias = values(w->head_bias, 1);
  return new Running(d);
}

void run(void* network, const float* in, float* out, int frames) {
  static_cast<Running*>(network)->frames->process(frames, in, 1, 1, out, 1, 1);
}

void destroy(void* network) { delete static_cast<Running*>(network); }

}  // namespace

extern const Contender kCellgateCore;
const Contender kCellgateCore = {"cellgate", create, run, destroy, 0};
