// The page: loads the model beside it, detects in images that are chosen or dropped, and draws the boxes.

import { detect, load } from './detector.js';

const FORMAT_VERSION = 1;
const FEWEST_PIXELS = 480; // longer side that a drawn image has at least, so that text stays small beside the objects
const MOST_NAMES = 8; // classes that are named in the head of the page
// Okabe and Ito's palette, which is told apart in any colour vision; then red, violet, brown, grey.
const PALETTE = [
  '#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#f0e442', '#c81e32', '#7850c8', '#825032', '#555555',
];
const byId = (id) => document.getElementById(id);
let model; // of detector.js
let shown; // {name, image, detections, seconds} of the image on the page
let turn = Promise.resolve(); // images are detected in one after the other
let newest = 0;

function say(text, { wrong = false, progress = null } = {}) {
  byId('says').textContent = text;
  byId('status').classList.toggle('wrong', wrong);
  byId('progress').hidden = progress === null;
  if (progress !== null) byId('progress').value = progress;
}

/** Says what is wrong with an image, and takes the one before it off the page. */
function refuse(text) {
  shown = undefined;
  byId('result').hidden = true;
  say(text, { wrong: true });
}

const colourOf = (label) => PALETTE[label % PALETTE.length];

/** Black or white, whichever is read better on a colour. */
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#000' : '#fff';
}

const sure = () => shown.detections.filter(({ score }) => score >= Number(byId('threshold').value));

function draw() {
  const { image } = shown;
  const canvas = byId('canvas');
  const factor = Math.max(1, Math.ceil(FEWEST_PIXELS / Math.max(image.width, image.height)));
  [canvas.width, canvas.height] = [image.width * factor, image.height * factor];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  // A large image is shown smaller than it is; lines and text keep their size on the page.
  const unit = Math.max(1, canvas.width / (byId('result').clientWidth || canvas.width));
  context.font = `${13 * unit}px system-ui, sans-serif`;
  context.textBaseline = 'middle';
  for (const { box, score, label } of sure().reverse()) { // higher scores on top
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
  const detections = sure();
  byId('result').hidden = false;
  draw();
  list(detections);
  const counts = new Map();
  for (const { label } of detections) counts.set(label, (counts.get(label) ?? 0) + 1);
  const words = [...counts].map(([label, count]) => `${count} × ${model.info.classes[label]}`).join(', ');
  const found = words || `nothing with a score of ${lowest.toFixed(2)} or more`;
  byId('canvas').setAttribute('aria-label', `${shown.name}: ${found}`);
  say(`${shown.name}: ${found} (${shown.seconds.toFixed(2)}\u00a0s)`);
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
      refuse(`${file.name} is not an image that this browser can read.`);
      return;
    }
    say(`Detecting in ${file.name} …`);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // the line above is drawn first
    try {
      const start = performance.now();
      const detections = await detect(model, image, Number(byId('threshold').min));
      shown = { name: file.name, image, detections, seconds: (performance.now() - start) / 1000 };
      show();
    } catch (error) {
      refuse(`The model cannot be run on ${file.name} (${image.width} × ${image.height}): ${error.message}`);
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
  const more = info.classes.length - MOST_NAMES;
  byId('finds').textContent = `Finds ${info.classes.slice(0, MOST_NAMES).join(', ')}${more > 0 ? ` and ${more} more` : ''}. `;
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
  const bytes = await fetched('model.onnx');
  say('Preparing the model …');
  model = await load(info, bytes);
  byId('file').disabled = false;
  say('Ready.');
}

byId('file').addEventListener('change', ({ target }) => {
  if (target.files.length) open(target.files[0]);
});
byId('file').addEventListener('click', ({ target }) => { target.value = ''; }); // the same file may be chosen again
byId('threshold').addEventListener('input', show);
window.addEventListener('resize', () => { if (shown) draw(); });
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
  const { files } = event.dataTransfer;
  if (!model || !files.length) {
    say(model ? 'The dropped item is not a file.' : 'The model is not loaded yet; drop the image again once it is.', { wrong: true });
    return;
  }
  byId('file').files = files; // its name is shown there, too
  open(files[0]);
});

try {
  await start();
} catch (error) {
  say(`The model cannot be loaded: ${error.message}`, { wrong: true });
}
