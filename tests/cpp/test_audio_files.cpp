// The formats of audio software: RTNeural and AIDA-X, Proteus, Neural Amp Modeler, from texts written here
// with known numbers, and whatever such files may have wrong.
#include "file_checks.hpp"

namespace {

void check_rtneural() {
  for (const std::int64_t input : {1, 2}) {
    for (const std::int64_t layers : {1, 3}) {
      const NetworkDescription<float> n = test::network(test::sizes(input, 3, layers));
      const NetworkDescription<float> back = read(test::rtneural_text(n));
      same_lstm(back, n);
      same_head(back, n);
      CHECK(back.skip == 0 && back.input_gain == 1 && back.output_gain == 1 && !back.self_test, "defaults");
      CHECK(back.sample_rate == 48000.0 && back.metadata.empty() && back.initial_h.empty(), "defaults");
    }
  }
  // By hand: one unit, so that column q is gate q in the order i, f, g, o.
  const NetworkDescription<float> hand = read(std::string(
      R"( {"in_shape":[2],"layers":[{"type":"lstm","shape":[1],"weights":[[[1,2,3,4],[5,6,7,8]],[[9,10,11,12]]]},)"
      R"({"type":"time-distributed-dense","shape":[2],"weights":[[[13,14]]]},{"type":"activation","activation":)"
      R"("tanh","shape":[2]}],"samplerate":"44100","author":"x","esr":0.5,"flag":true,"metadata":{"a":{"b":[1,null]}}})"));
  const float kernel[] = {1, 5, 2, 6, 3, 7, 4, 8}, recurrent[] = {9, 10, 11, 12}, head[] = {13, 14};
  CHECK(test::same_bits(hand.layers[0].w_ih.data(), kernel, 8), "kernel");
  CHECK(test::same_bits(hand.layers[0].w_hh.data(), recurrent, 4), "recurrent kernel");
  CHECK(test::same_bits(hand.head->weight.data(), head, 2) && hand.head->bias.empty(), "dense");
  CHECK(hand.head->activation == Activation::kTanh && hand.sample_rate == 44100.0, "rest");
  const std::map<std::string, std::string> metadata = {
      {"author", "x"}, {"esr", "0.5"}, {"flag", "true"}, {"a", R"({"b":[1,null]})"}};
  CHECK(hand.metadata == metadata, "metadata");

  const NetworkDescription<float> n = test::network(test::sizes(1, 3));
  const NetworkDescription<float> aida = read(test::rtneural_text(
      n, R"(,"in_skip":1,"in_gain":-20,"out_gain":6.0,"metadata":{"samplerate":"96000","name":"n"},)"
         R"("samplerate":1,"input_batch":[0.5,-1],"output_batch":[2,3])"));
  CHECK(aida.skip == 1 && std::fabs(aida.input_gain - 0.1) < 1e-15, "skip, in_gain");
  CHECK(std::fabs(aida.output_gain - 1.9952623149688795) < 1e-15, "out_gain");
  CHECK(aida.sample_rate == 96000.0 && aida.self_test && !aida.self_test->with_gains, "rest");
  CHECK(aida.self_test->steps == 2 && aida.self_test->input.data()[1] == -1, "input_batch");
  CHECK(aida.self_test->output.data()[0] == 2 && aida.metadata.at("name") == "n", "output_batch");
  // The gain is of the first input only, and the test of the others is at 0.
  const NetworkDescription<float> knobs =
      read(test::rtneural_text(test::network(test::sizes(2, 3)),
                               R"(,"in_gain":20,"input_batch":[7],"output_batch":[8],"in_skip":null)"));
  CHECK(knobs.input_scale.data()[0] == 1 && knobs.input_scale.data()[1] == 10, "scale");
  CHECK(knobs.self_test->input.data()[0] == 7 && knobs.self_test->input.data()[1] == 0, "test");
  CHECK(read(test::rtneural_text(n, ",\"in_gain\":-90")).input_gain == 0, "silence");
}

void check_rtneural_errors() {
  const std::string good = test::rtneural_text(test::network(test::sizes(1, 3, 2)));
  const auto bad = [&](const std::string& from, const std::string& to, const std::string& part,
                       Fault fault = Fault::kMalformed) { fails(replaced(good, from, to), part, fault); };
  const Fault no = Fault::kUnsupported;
  const std::string wanted =
      "layers: must be 'lstm' once or more, then at most one 'dense' and one 'activation', got ";
  for (const std::string type : {"gru", "conv1d", "prelu", "batchnorm", "dense"})
    bad("\"lstm\"", "\"" + type + "\"", wanted + "'" + type + "', 'lstm', 'dense'", no);
  bad("\"lstm\"", "\"x\\u0000y\"", wanted + "'x\\x00y', 'lstm'", no);
  bad("\"dense\"", "\"activation\"", wanted + "'lstm', 'lstm', 'activation'", no);
  bad("\"activation\":\"\"", "\"activation\":\"relu\"", "layers[0].activation: must be 'tanh', got 'relu'",
      no);
  bad("3],\"weights\"", "16],\"weights\"", "layers[0].weights[1]: must have 16 rows, got 3");
  bad("3],\"weights\"", "-3],\"weights\"", "layers[0].shape[2]: must be at least 1, got -3");
  bad("3],\"weights\"", "1e300],\"weights\"", "layers[0].shape[2]: must be at most 9007199254740992");
  bad("3],\"weights\"", "2305843009213693952],\"weights\"", "layers[0].shape[2]: must be at most");
  bad("[null,null,1]", "[null,null,9007199254740992]", "weights[0]: must have 9007199254740992 rows, got 1");
  bad("[null,null,1]", "[]", "in_shape: must have at least 1 element, got 0");
  bad("[null,null,1]", "[1,null]", "in_shape[1]: must be an integer, got null");
  bad("\"weights\":[", "\"weights\":[[],", "layers[0].weights: must have 2 or 3 arrays, got 4");
  bad("\"weights\":[[[", "\"weights\":[[[1,", "layers[0].weights[0][0]: must have 12 elements, got 13");
  bad("\"weights\":[[[", "\"weights\":[[[1e39,", "layers[0].weights[0][0]: must have 12");
  bad("\"layers\"", "\"layer\"", "is JSON, but of no known format", no);
  bad("\"layers\"", "\"in_shape\"", "'in_shape' occurs twice");
  bad("\"type\":\"dense\"", "\"type\":\"lstm\"", "layers[2]: has 1 units, the lstm before it 3", no);
  fails(std::string(R"({"in_shape":[1],"layers":[]})"), wanted + "none", no);
  const auto layers = [](const std::string& types) {
    return R"({"in_shape":[1],"layers":[{"type":"lstm"})" + types + "]}";
  };
  const std::string dense = R"(,{"type":"dense"})", activation = R"(,{"type":"activation"})";
  fails(layers(dense + dense), wanted + "'lstm', 'dense', 'dense'", no);
  fails(layers(dense + activation + activation), wanted + "'lstm', 'dense', 'activation', 'activation'", no);
  std::string many;
  for (int i = 0; i < 20; ++i) many += dense;
  fails(layers(many), "'dense', ...", no);
  fails(std::string(R"({"in_shape":[1],"layers":[1]})"), "layers: must be an array of no numbers");
  bad("\"activation\":\"\",\"shape\":[null,null,1]", "\"activation\":\"elu\",\"shape\":[null,null,1]",
      "layers[2].activation: must be tanh, relu, sigmoid or softmax, got 'elu'", no);
  fails(replaced(replaced(good, "\"activation\":\"\",\"shape\":[null,null,1]",
                          "\"activation\":\"tanh\",\"shape\":[null,null,1]"),
                 "]}]", R"(]},{"type":"activation","activation":"relu"}])"),
        "layers[3].activation: must be the only activation behind the dense layer, got 'relu' after 'tanh'",
        no);
  const std::string one =
      R"({"in_shape":[1],"layers":[{"type":"lstm","shape":[1],"weights":[[[1,2,3,%s]],[[1,2,3,4]]]}]})";
  CHECK(read(replaced(one, "%s", "3.4028235677973362e38")).layers.size() == 1u, "rounds to the largest");
  fails(replaced(one, "%s", "3.4028235677973366e38"),
        "layers[0].weights[0]: must be finite in float32, got 3.40");
  fails(replaced(one, "%s", "-1e39"), "must be finite in float32, got -1e+39");
  fails(replaced(one, "%s", "NaN"), "is not JSON: it breaks off or is invalid at byte");
  fails(replaced(one, "%s", "1e400"), "is not JSON: a number is too large at byte");
  fails(replaced(one, "%s", "null"), "layers[0].weights[0][0]: must be an array of numbers, got an array");
  ReadOptions allow;
  allow.allow_nonfinite = true;
  CHECK(read(replaced(one, "%s", "-1e39"), allow).layers[0].w_ih.data()[3] == -INFINITY, "allowed");
  const auto more = [&](const std::string& text, const std::string& part, Fault fault = Fault::kMalformed) {
    fails(test::rtneural_text(test::network(test::sizes(1, 3)), "," + text), part, fault);
  };
  more(R"("in_skip":2)", "in_skip: must be at most 1, got 2");
  more(R"("in_skip":-1)", "in_skip: must be at least 0, got -1");
  more(R"("in_gain":"1")", "in_gain: must be a number, got a string");
  more(R"("out_gain":1e9)", "out_gain: must be at most 1000 dB");
  more(R"("samplerate":"fast")", "samplerate: is not a number");
  more(R"("samplerate":0)", "sample_rate: must be positive and finite");
  more(R"("input_batch":[1],"output_batch":[1,2])", "output_batch: must have 1 elements, got 2");
}

void check_proteus() {
  for (const std::int64_t layers : {1, 2}) {
    NetworkDescription<float> n = test::network(test::sizes(1, 3, layers));
    Random random(7);
    for (auto& layer : n.layers) layer.b_hh = test::values<float>(random, 12);  // there are both
    const NetworkDescription<float> back = read(test::proteus_text(n, ",\"skip\":1,\"bias_fl\":true"));
    same_lstm(back, n);
    same_head(back, n);
    CHECK(back.skip == 1 && back.sample_rate == 44100.0 && back.input_gain == 1, "rest");
  }
  const NetworkDescription<float> n = test::network(test::sizes(2, 3));
  CHECK(read(test::proteus_text(n)).skip == 1, "no skip given");
  CHECK(read(test::proteus_text(n, ",\"skip\":0")).skip == 0, "skip 0");
  CHECK(read(test::proteus_text(n, "", " ")).head->bias.empty(), "a bias");
  const std::string good = test::proteus_text(n, ",\"skip\":1");
  const auto bad = [&](const std::string& from, const std::string& to, const std::string& part,
                       Fault fault = Fault::kMalformed) { fails(replaced(good, from, to), part, fault); };
  const Fault no = Fault::kUnsupported;
  bad("\"LSTM\"", "\"GRU\"", "model_data.unit_type: must be 'LSTM', got 'GRU'", no);
  bad("\"SimpleRNN\"", "\"RecNet\"", "model_data.model: must be 'SimpleRNN', got 'RecNet'", no);
  bad("\"skip\":1", "\"skip\":2", "model_data.skip: must be 0 or the number of outputs, 1, got 2", no);
  bad("\"num_layers\":1", "\"num_layers\":2", "state_dict: lacks 'rec.weight_ih_l1'");
  bad("\"num_layers\":1", "\"num_layers\":1e15", "model_data.num_layers: must be at most the number of");
  bad("\"hidden_size\":3", "\"hidden_size\":4", "state_dict.rec.weight_ih_l0: must have 16 rows, got 12");
  bad("\"hidden_size\":3", "\"hidden_size\":9007199254740992", "must have 36028797018963968 rows, got 12");
  bad("\"input_size\":2", "\"input_size\":1", "rec.weight_ih_l0[0]: must have 1 elements, got 2");
  bad("\"lin.bias\"", "\"lin.offset\"", "state_dict: must hold 'rec' and 'lin' only, got 'lin.offset'", no);
  bad("\"state_dict\"", "\"state\"", "lacks 'state_dict'");
}

void check_nam() {
  for (const std::int64_t layers : {1, 2, 3}) {
    const std::int64_t H = 4;
    const NetworkDescription<float> n = test::network(test::sizes(2, H, layers));
    std::vector<float> state = Random(9).numbers<float>(layers * 2 * H), h, c;
    for (std::int64_t i = 0; i < layers; ++i) {
      const float* at = state.data() + i * 2 * H;
      h.insert(h.end(), at, at + H);
      c.insert(c.end(), at + H, at + 2 * H);
    }
    const NetworkDescription<float> back =
        read(test::nam_text(n, state, R"(,"metadata":{"loudness":-20.5,"date":{"year":2024},"name":null})"));
    same_lstm(back, n);
    same_head(back, n);
    same(back.initial_h, Values<float>(h), "initial_h");
    same(back.initial_c, Values<float>(c), "initial_c");
    const std::map<std::string, std::string> metadata = {{"loudness", "-20.5"}, {"date", "{\"year\":2024}"}};
    CHECK(back.metadata == metadata && back.sample_rate == 48000.0 && back.skip == 0, "rest");
  }
  const NetworkDescription<float> n = test::network(test::sizes(1, 3));
  const std::string good = test::nam_text(n, std::vector<float>(6), ",\"sample_rate\":44100");
  CHECK(read(good).sample_rate == 44100.0, "sample_rate");
  const auto bad = [&](const std::string& from, const std::string& to, const std::string& part,
                       Fault fault = Fault::kMalformed) { fails(replaced(good, from, to), part, fault); };
  const Fault no = Fault::kUnsupported;
  for (const char* other : {"WaveNet", "ConvNet", "Linear", "SlimmableContainer"}) {
    bad("\"LSTM\"", "\"" + std::string(other) + "\"",
        "architecture: must be 'LSTM', got '" + std::string(other) + "'", no);
  }
  bad("0.5.4", "0.8.0", "version: must be 0.5, 0.6 or 0.7 with any last number, got '0.8.0'", no);
  bad("0.5.4", "0.5.", "version: must be", no);
  bad("\"hidden_size\":3", "\"hidden_size\":4",
      "weights: must have 109 elements for this configuration, got 70");
  bad("\"num_layers\":1", "\"num_layers\":9007199254740992", "weights: must have ");
  bad("\"num_layers\":1", "\"num_layers\":0", "config.num_layers: must be at least 1, got 0");
  bad("\"num_layers\":1", "\"num_layers\":1,\"in_channels\":2",
      "config.in_channels: must be input_size, 1, got 2", no);
  bad("\"num_layers\":1", "\"num_layers\":1,\"out_channels\":2", "weights: must have 74 elements");
  bad("\"weights\":[", "\"weights\":[1,", "weights: must have 70 elements for this configuration, got 71");
  bad("\"weights\":[", "\"weights\":[null,", "weights: must be an array of numbers, got an array");
}

}  // namespace

int main() {
  check_rtneural();
  check_rtneural_errors();
  check_proteus();
  check_nam();
  std::puts("files of audio software: passed");
}
