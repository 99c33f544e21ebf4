// Detects objects in an image with the model beside this page. What the model takes and gives is read from model.json.

import * as ort from './ort/ort.wasm.min.mjs';

const FORMAT_VERSION = 1;
const FEWEST_PIXELS = 480; // longer side that a drawn image has at least, so that text stays small beside the objects
// Okabe and Ito's palette, which is told apart in any colour vision; then red, violet, brown, grey.
const PALETTE = [
  '#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#f0e442', '#c81e32', '#7850c8', '#825032', '#555555',
];
const byId = (id) => document.getElementById(id);
let model; // {info, session}
let shown; // {image, detections} of the image on the page
let turn = Promise.resolve(); // images are detected in one after the other
let newest = 0;

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

/** Detections {box, score, label} on the canvas of the input, best first. */
function read({ form, test_cfg: test, classes }, { boxes, scores, labels, num_dets: count }, lowest) {
  const box = (row) => Array.from(boxes.data.subarray(4 * row, 4 * row + 4));
  if (form === 'nms') {
    return Array.from({ length: Number(count.data[0]) }, (_, row) => (
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

/** Detections in an image, {box, score, label} in its pixels, best first, from the slider's lowest score on. */
async function detect(image) {
  const { info, session } = model;
  const at = place(info.fit, image.width, image.height);
  const outputs = await session.run(feeds(info, image, at));
  return read(info, outputs, Number(byId('threshold').min))
    .map((each) => ({ ...each, box: back(each.box, at, image, info.clip) }))
    .filter(({ box }) => box[2] > box[0] && box[3] > box[1]);
}

// ------------------------------------------------------------------------------------------------------------- the page

function say(text, { wrong = false, progress = null } = {}) {
  byId('says').textContent = text;
  byId('status').classList.toggle('wrong', wrong);
  byId('progress').hidden = progress === null;
  if (progress !== null) byId('progress').value = progress;
}

const colourOf = (label) => PALETTE[label % PALETTE.length];

/** Black or white, whichever is read better on a colour. */
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#000' : '#fff';
}

function draw({ image }, detections) {
  const canvas = byId('canvas');
  const factor = Math.max(1, Math.ceil(FEWEST_PIXELS / Math.max(image.width, image.height)));
  [canvas.width, canvas.height] = [image.width * factor, image.height * factor];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  // A large image is shown smaller than it is; lines and text keep their size on the page.
  const unit = Math.max(1, canvas.width / (byId('result').clientWidth || canvas.width));
  context.font = `${13 * unit}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  for (const { box, score, label } of [...detections].reverse()) { // higher scores on top
    const [x1, y1, x2, y2] = box.map((value) => value * factor);
    context.strokeStyle = context.fillStyle = colourOf(label);
    context.lineWidth = 2 * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    const text = `${model.info.classes[label]} ${score.toFixed(2)}`;
    const [width, height] = [context.measureText(text).width + 8 * unit, 18 * unit];
    const left = Math.max(0, Math.min(x1 - unit, canvas.width - width));
    const top = y1 - height >= 0 ? y1 - height : Math.max(0, y1);
    context.fillRect(left, top, width, height);
    context.fillStyle = inkOn(colourOf(label));
    context.fillText(text, left + 4 * unit, top + height / 2);
  }
}

function list(detections) {
  byId('rows').replaceChildren(...detections.map(({ box, score, label }) => {
    const row = document.createElement('tr');
    for (const text of [model.info.classes[label], score.toFixed(3), ...box.map((value) => value.toFixed(1))]) {
      row.insertCell().textContent = text;
    }
    const colour = document.createElement('span');
    colour.className = 'colour';
    colour.style.background = colourOf(label);
    row.cells[0].prepend(colour);
    return row;
  }));
}

function show() {
  const lowest = Number(byId('threshold').value);
  byId('lowest').value = lowest.toFixed(2);
  if (!shown) return;
  const detections = shown.detections.filter(({ score }) => score >= lowest);
  byId('result').hidden = false;
  draw(shown, detections);
  list(detections);
  const counts = new Map();
  for (const { label } of detections) counts.set(label, (counts.get(label) ?? 0) + 1);
  const words = [...counts].map(([label, count]) => `${count} × ${model.info.classes[label]}`).join(', ');
  const found = words || `nothing with a score of ${lowest.toFixed(2)} or more`;
  byId('canvas').setAttribute('aria-label', `${shown.name}: ${found}`);
  say(`${shown.name}: ${found} (${shown.seconds.toFixed(2)} s)`);
}

/** Detects in a file; of files that come while one is detected in, the newest is shown. */
function open(file) {
  const number = ++newest;
  turn = turn.then(async () => {
    if (number !== newest) return;
    let image;
    try {
      image = await createImageBitmap(file, { colorSpaceConversion: 'none' });
    } catch {
      say(`${file.name} is no image that this browser can read.`, { wrong: true });
      return;
    }
    say(`Detecting in ${file.name} …`);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the line above is drawn first
    try {
      const start = performance.now();
      const detections = await detect(image);
      shown = { name: file.name, image, detections, seconds: (performance.now() - start) / 1000 };
      show();
    } catch (error) {
      say(`The model cannot be run on ${file.name} (${image.width} × ${image.height}): ${error.message}`, { wrong: true });
    }
  });
}

/** The bytes of a file beside this page; its progress is shown. */
async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} is not there (${response.status} ${response.statusText}).`);
  const size = Number(response.headers.get('Content-Length'));
  const [parts, reader] = [[], response.body.getReader()];
  for (let loaded = 0, part; !(part = await reader.read()).done;) {
    parts.push(part.value);
    loaded += part.value.length;
    const percent = size ? `, ${Math.round((100 * loaded) / size)} %` : '';
    say(`Loading ${name} (${(loaded / 1e6).toFixed(1)} MB${percent}) …`, { progress: size ? loaded / size : 0 });
  }
  return new Blob(parts).arrayBuffer();
}

function tellAbout(info) {
  const size = info.input.size ? `${info.input.size[1]} × ${info.input.size[0]} pixels` : 'as the image';
  const facts = {
    Network: info.network,
    Input: `${size}, ${info.input.dtype}`,
    Classes: info.classes.join(', '),
    Weights: info.checkpoint?.name ?? 'random',
    'Licence of the weights': info.licence ?? 'their file says nothing',
    'Not as in PyTorch': ['Images are resized by the browser, whose pixels differ a little from those of OpenCV.', ...info.dropped].join(' '),
    'Made with': Object.entries(info.versions).map(([name, version]) => `${name} ${version}`).join(', '),
  };
  byId('facts').replaceChildren(...Object.entries(facts).flatMap(([name, text]) => {
    const [term, value] = [document.createElement('dt'), document.createElement('dd')];
    [term.textContent, value.textContent] = [name, text];
    return [term, value];
  }));
  byId('title').textContent = document.title = info.network;
  byId('about').hidden = false;
}

async function start() {
  const info = JSON.parse(new TextDecoder().decode(await fetched('model.json')));
  if (info.format_version !== FORMAT_VERSION) {
    throw new Error(`model.json is of format ${info.format_version}, and this page reads ${FORMAT_VERSION}.`);
  }
  tellAbout(info);
  const slider = byId('threshold');
  const least = Math.ceil(info.test_cfg.score_thr / 0.05) * 0.05; // scores below it are not in the outputs
  slider.min = Math.min(Math.max(0.05, least), 0.95).toFixed(2);
  // Threads would need cross-origin headers, which python -m http.server does not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL('./ort/', import.meta.url).href;
  const bytes = await fetched('model.onnx');
  say('Preparing the model …');
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  model = { info, session };
  byId('file').disabled = false;
  say('Ready.');
}

byId('file').addEventListener('change', ({ target }) => {
  if (target.files.length) open(target.files[0]);
  target.value = ''; // the same file may be chosen again
});
byId('threshold').addEventListener('input', show);
window.addEventListener('resize', show);
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  byId('drop').classList.add('over');
});
document.addEventListener('dragleave', ({ relatedTarget }) => {
  if (!relatedTarget) byId('drop').classList.remove('over');
});
document.addEventListener('drop', (event) => {
  event.preventDefault(); // the browser would leave the page for the image
  byId('drop').classList.remove('over');
  const file = event.dataTransfer.files[0];
  if (!model) say('The model is not loaded yet; drop the image again once it is.');
  else if (file) open(file);
  else say('What was dropped is no file.', { wrong: true });
});

try {
  await start();
} catch (error) {
  say(`The model cannot be loaded: ${error.message}`, { wrong: true });
}
