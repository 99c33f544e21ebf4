// Detects in an image with a file of `mmcnn export ... --form nms`: one line of standard output for each box,
//   class score x1 y1 x2 y2
// in pixels of the image. Everything that it has to know of the file is in the file's metadata.
//
//   g++ -std=c++17 -O2 detect.cpp -o detect -I$ORT/include -L$ORT/lib -Wl,-rpath,$ORT/lib -lonnxruntime \
//       $(pkg-config --cflags --libs opencv4)
//   ./detect m.onnx street.jpg 0.25
//
// $ORT is an unpacked release of ONNX Runtime; nlohmann/json.hpp is Debian's nlohmann-json3-dev.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using nlohmann::json;

// An image on the canvas of the input, and how it got there.
struct Fitted {
    cv::Mat canvas;  // CV_32FC3, BGR
    cv::Size size;   // of the image on it
    int left, top;
    double scale_x, scale_y;
};

Fitted fitted(const cv::Mat& image, const json& fit) {
    const double w = image.cols, h = image.rows, scale_w = fit["scale"][0], scale_h = fit["scale"][1];
    double ratio = fit["rule"] == "inside" ? std::min(scale_w / w, scale_h / h)
                                           : std::min(std::max(scale_w, scale_h) / std::max(w, h),
                                                      std::min(scale_w, scale_h) / std::min(w, h));
    if (!fit["canvas"].is_null())
        ratio = std::min({ratio, fit["canvas"][0].get<double>() / h, fit["canvas"][1].get<double>() / w});
    // std::nearbyint sends halves to the even number, as Python's round does.
    const auto rounded = [&](double side) {
        return std::max(1, int(fit["rounding"] == "round" ? std::nearbyint(side * ratio) : side * ratio + 0.5));
    };
    const cv::Size size(rounded(w), rounded(h));
    const auto padded = [&](int side) {
        const double stride = fit["stride"];
        return int(std::ceil(side / stride + fit["extra"].get<double>()) * stride);
    };
    cv::Size full;
    if (!fit["canvas"].is_null())
        full = {fit["canvas"][1], fit["canvas"][0]};
    else if (fit["stride"].is_null())
        full = {int(scale_w), int(scale_h)};
    else
        full = {padded(size.width), padded(size.height)};

    cv::Mat resized = image;
    if (size != image.size()) {
        const bool shrinks = size.width < image.cols || size.height < image.rows;
        cv::resize(image, resized, size, 0, 0, shrinks && fit["shrink"] == "area" ? cv::INTER_AREA : cv::INTER_LINEAR);
    }
    const bool centred = fit["place"] == "centre";
    const int left = centred ? (full.width - size.width) / 2 : 0, top = centred ? (full.height - size.height) / 2 : 0;
    const json& value = fit["value"];
    cv::Mat canvas(full, CV_32FC3, cv::Scalar(value[0], value[1], value[2]));
    resized.convertTo(canvas(cv::Rect({left, top}, size)), CV_32FC3);
    return {canvas, size, left, top, size.width / w, size.height / h};
}

int run(const std::string& path, const std::string& image_path, float lowest) {
    Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "detect");
    Ort::Session session(env, std::basic_string<ORTCHAR_T>(path.begin(), path.end()).c_str(), Ort::SessionOptions());
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated("mmcnn", allocator);
    if (!text) throw std::runtime_error(path + " has no metadata of mmcnn");
    const json about = json::parse(text.get());
    if (about["format_version"] != 1 || about["form"] != "nms" || about["layout"] != "plain")
        throw std::runtime_error(path + " is not of format 1, form nms, layout plain");

    const cv::Mat image = cv::imread(image_path);  // BGR, turned upright
    if (image.empty()) throw std::runtime_error(image_path + " cannot be read");
    const Fitted at = fitted(image, about["fit"]);

    const json& input = about["input"];
    const int64_t height = at.canvas.rows, width = at.canvas.cols;
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<float> planes;
    cv::Mat bytes;
    std::vector<Ort::Value> feeds;
    if (input["dtype"] == "uint8") {  // (1, H, W, 3)
        at.canvas.convertTo(bytes, CV_8UC3);
        const std::vector<int64_t> shape{1, height, width, 3};
        feeds.push_back(Ort::Value::CreateTensor<uint8_t>(memory, bytes.data, bytes.total() * 3, shape.data(), 4));
    } else {  // (1, 3, H, W), values 0 to 255: normalisation is in the file
        planes.resize(3 * height * width);
        std::vector<cv::Mat> channels;
        for (int c = 0; c < 3; ++c) channels.emplace_back(height, width, CV_32F, &planes[c * height * width]);
        cv::split(at.canvas, channels);
        const std::vector<int64_t> shape{1, 3, height, width};
        feeds.push_back(Ort::Value::CreateTensor<float>(memory, planes.data(), planes.size(), shape.data(), 4));
    }
    std::vector<const char*> names{"images"};
    std::vector<int64_t> im_size{at.size.height, at.size.width};
    const std::vector<int64_t> two{2};
    if (input["image_size"]) {  // Faster R-CNN
        names.push_back("im_size");
        feeds.push_back(Ort::Value::CreateTensor<int64_t>(memory, im_size.data(), 2, two.data(), 1));
    }
    const std::vector<const char*> outputs{"num_dets", "boxes", "scores", "labels"};
    const auto found = session.Run(Ort::RunOptions{nullptr}, names.data(), feeds.data(), feeds.size(), outputs.data(), 4);

    const int64_t count = *found[0].GetTensorData<int64_t>();
    const auto *boxes = found[1].GetTensorData<float>(), *scores = found[2].GetTensorData<float>();
    const auto* labels = found[3].GetTensorData<int64_t>();
    for (int64_t i = 0; i < count && scores[i] >= lowest; ++i) {  // best first
        double x1 = (boxes[4 * i] - at.left) / at.scale_x, y1 = (boxes[4 * i + 1] - at.top) / at.scale_y;
        double x2 = (boxes[4 * i + 2] - at.left) / at.scale_x, y2 = (boxes[4 * i + 3] - at.top) / at.scale_y;
        if (about["clip"]) {
            x1 = std::clamp(x1, 0.0, double(image.cols)), x2 = std::clamp(x2, 0.0, double(image.cols));
            y1 = std::clamp(y1, 0.0, double(image.rows)), y2 = std::clamp(y2, 0.0, double(image.rows));
        }
        if (x2 > x1 && y2 > y1)
            std::cout << about["classes"][labels[i]].get<std::string>() << ' ' << scores[i] << ' ' << x1 << ' ' << y1
                      << ' ' << x2 << ' ' << y2 << '\n';
    }
    return 0;
}

int main(int argc, char** argv) {
    if (argc < 3) {
        std::cerr << "usage: detect MODEL.onnx IMAGE [SCORE]\n";
        return 2;
    }
    try {
        return run(argv[1], argv[2], argc > 3 ? std::stof(argv[3]) : 0.25f);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
}
