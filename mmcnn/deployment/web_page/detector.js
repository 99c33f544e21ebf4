// From an image to detections, as mmcnn.runtime.Detector does it: what the model takes and gives is in its metadata.

import * as ort from './ort/ort.wasm.min.mjs';

// ------------------------------------------------------------------------------------------- from an image to the input

/** Halves go to the even number, as Python rounds. */
const roundEven = (x) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

/** Where an image of w x h pixels lies on the canvas of the input: sizes and offsets in pixels. */
export function place(fit, w, h) {
  const [scaleW, scaleH] = fit.scale;
  let ratio = fit.rule === 'inside'
    ? Math.min(scaleW / w, scaleH / h)
    : Math.min(Math.max(scaleW, scaleH) / Math.max(w, h), Math.min(scaleW, scaleH) / Math.min(w, h));
  if (fit.canvas) ratio = Math.min(ratio, fit.canvas[0] / h, fit.canvas[1] / w);
  const round = fit.rounding === 'round' ? roundEven : (x) => Math.floor(x + 0.5);
  const [width, height] = [w, h].map((side) => Math.max(1, round(side * ratio)));
  let [fullH, fullW] = [height, width].map((side) => Math.ceil(side / fit.stride + fit.extra) * fit.stride);
  if (fit.stride === null) [fullW, fullH] = fit.scale;
  if (fit.canvas) [fullH, fullW] = fit.canvas;
  const centred = fit.place === 'centre';
  const [top, left] = [fullH - height, fullW - width].map((room) => (centred ? Math.floor(room / 2) : 0));
  return { width, height, fullW, fullH, top, left, scaleX: width / w, scaleY: height / h };
}

/** RGBA pixels of an image at another size. */
function resized(image, { width, height }, fit) {
  const context = new OffscreenCanvas(width, height).getContext('2d', { alpha: false, willReadFrequently: true });
  const shrinks = width < image.width || height < image.height;
  context.imageSmoothingQuality = shrinks && fit.shrink === 'area' ? 'high' : 'low';
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

/** The inputs of the network for one image. */
function feeds({ input, fit }, image, at) {
  const pixels = resized(image, at, fit);
  const area = at.fullW * at.fullH;
  const values = input.dtype === 'uint8' ? new Uint8Array(3 * area) : new Float32Array(3 * area);
  const [perPixel, perChannel] = input.layout === 'NCHW' ? [1, area] : [3, 1];
  for (let channel = 0; channel < 3; channel++) {
    // The padding of the metadata is in BGR order, pixels are RGBA.
    const blue = input.channel_order === 'rgb' ? 2 - channel : channel;
    const plain = (value) => (input.normalised ? (value - input.mean[channel]) / input.std[channel] : value);
    const start = channel * perChannel;
    const padding = plain(fit.value[blue]);
    for (let i = 0; i < area; i++) values[start + i * perPixel] = padding;
    for (let y = 0; y < at.height; y++) {
      let from = y * at.width * 4 + 2 - blue;
      let to = start + ((at.top + y) * at.fullW + at.left) * perPixel;
      for (let x = 0; x < at.width; x++, from += 4, to += perPixel) values[to] = plain(pixels[from]);
    }
  }
  const shape = input.layout === 'NCHW' ? [1, 3, at.fullH, at.fullW] : [1, at.fullH, at.fullW, 3];
  const found = { images: new ort.Tensor(input.dtype, values, shape) };
  if (input.image_size) {
    found.im_size = new ort.Tensor('int64', BigInt64Array.from([at.height, at.width].map(BigInt)), [2]);
  }
  return found;
}

// ------------------------------------------------------------------------------------------ from the outputs to detections

/** IoU of two boxes, less the penalty for the distance of their centres where the NMS has one. */
function overlap(a, b, type) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (!(width > 0 && height > 0)) return 0;
  const areas = [a, b].map((box) => (box[2] - box[0]) * (box[3] - box[1]));
  const iou = (width * height) / (areas[0] + areas[1] - width * height);
  if (type === 'iou') return iou;
  const centres = (a[0] + a[2] - b[0] - b[2]) ** 2 / 4 + (a[1] + a[3] - b[1] - b[3]) ** 2 / 4;
  const enclosing = (Math.max(a[2], b[2]) - Math.min(a[0], b[0])) ** 2 + (Math.max(a[3], b[3]) - Math.min(a[1], b[1])) ** 2;
  return iou - (centres / enclosing) ** (type === 'greedy_diou' ? 0.6 : 1);
}

/** NMS of each class: candidates {box, score, label}, best first. */
export function suppressed(candidates, test) {
  candidates.sort((a, b) => b.score - a.score); // equal scores keep their order
  const kept = [];
  for (const each of test.nms_pre > 0 ? candidates.slice(0, test.nms_pre) : candidates) {
    if (test.max_per_img > 0 && kept.length === test.max_per_img) break;
    const covered = kept.some(
      (other) => other.label === each.label && overlap(other.box, each.box, test.nms.type) > test.nms.iou_threshold);
    if (!covered) kept.push(each);
  }
  return kept;
}

/** Detections {box, score, label} on the canvas of the input, best first, from the outputs in order. */
function read({ form, test_cfg: test, classes }, outputs, lowest) {
  const [boxes, scores, labels] = form === 'nms' ? outputs.slice(1) : outputs;
  const box = (row) => Array.from(boxes.data.subarray(4 * row, 4 * row + 4));
  if (form === 'nms') {
    return Array.from({ length: Number(outputs[0].data[0]) }, (_, row) => (
      { box: box(row), score: scores.data[row], label: Number(labels.data[row]) }));
  }
  const candidates = [];
  for (let row = 0; row < boxes.dims[1]; row++) {
    const of = scores.data.subarray(row * classes.length, (row + 1) * classes.length);
    const best = test.multi_label ? -1 : of.indexOf(Math.max(...of));
    of.forEach((score, label) => {
      const asked = best < 0 || label === best;
      if (asked && score > test.score_thr && score >= lowest) candidates.push({ box: box(row), score, label });
    });
  }
  return suppressed(candidates, test);
}

/** A box on the canvas of the input as one in the image. */
function back(box, at, image, clip) {
  const moved = box.map((value, i) => (value - (i % 2 ? at.top : at.left)) / (i % 2 ? at.scaleY : at.scaleX));
  return clip ? moved.map((value, i) => Math.min(Math.max(value, 0), i % 2 ? image.height : image.width)) : moved;
}

/**
 * A model, ready to detect.
 * info: its metadata, mmcnn.runtime.metadata.Metadata as JSON. bytes: the ONNX file.
 */
export async function load(info, bytes) {
  // Threads would need cross-origin headers, which python -m http.server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
  return { info, session: await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] }) };
}

/** Detections in an image, {box, score, label} in its pixels, best first, from a score on. */
export async function detect({ info, session }, image, lowest) {
  const at = place(info.fit, image.width, image.height);
  const outputs = await session.run(feeds(info, image, at));
  return read(info, session.outputNames.map((name) => outputs[name]), lowest)
    .map((each) => ({ ...each, box: back(each.box, at, image, info.clip) }))
    .filter(({ box }) => box[2] > box[0] && box[3] > box[1]);
}
