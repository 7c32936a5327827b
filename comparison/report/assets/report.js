// What report.html does beyond showing: curves that can be zoomed, epochs that play, a digit's history, two themes.
// The page is complete without it: what only works with it is marked `live`, what it replaces `still`.
"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector) => document.querySelector(selector);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const data = JSON.parse(find("#data").textContent);
  const colour = (role) => getComputedStyle(root).getPropertyValue(`--${role}`).trim();
  root.classList.add("js");

  // Themes: the system's until the reader chooses.
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);
  find("#theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    drawCharts();
  });
  systemIsDark.addEventListener("change", () => drawCharts());

  find("#print").addEventListener("click", () => print());
  const closed = () => all(".appendix ~ details:not([open])");
  let openedForPrint = [];
  addEventListener("beforeprint", () => {
    openedForPrint = closed();
    openedForPrint.forEach((part) => (part.open = true));
  });
  addEventListener("afterprint", () => openedForPrint.forEach((part) => (part.open = false)));
  all(".bar nav a").forEach((link) => link.addEventListener("click", () => (find(".bar details").open = false)));

  all("button[data-copies]").forEach((button) => {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copies);
      let isCopied = true;
      try {
        await navigator.clipboard.writeText(text.textContent.trim());
      } catch {
        isCopied = false; // a page from a file may not be allowed to: it is selected, for Ctrl-C
        getSelection().selectAllChildren(text);
      }
      button.textContent = isCopied ? "Copied" : "Selected: copy it";
    });
  });

  // Curves.
  let charts = [];
  let epochIndex = data.epochs.length - 1;
  const smoothing = find("#smoothing");
  const isLogarithmic = find("#logarithmic");

  // The mean over `width` points around each; where a value is missing, over those that are there.
  function smoothed(values, width) {
    if (width < 2) return values;
    const sums = [0], counts = [0];
    values.forEach((value, index) => {
      sums.push(sums[index] + (value ?? 0));
      counts.push(counts[index] + (value === null ? 0 : 1));
    });
    const half = Math.floor(width / 2);
    return values.map((value, index) => {
      const from = Math.max(0, index - half), to = Math.min(values.length, index + half + 1);
      return value === null ? null : (sums[to] - sums[from]) / (counts[to] - counts[from]);
    });
  }

  function dataOf(column) {
    const width = Number(smoothing.value);
    const positive = (value) => (value > 0 ? value : null);
    const series = Object.values(data.curves.series[column]).map((values) => smoothed(values, width));
    return [data.curves.steps, ...series.map((values) => (isLogarithmic.checked ? values.map(positive) : values))];
  }

  // A line at the step of the epoch whose digits are shown.
  function drawEpoch(chart) {
    const epoch = data.epochs[epochIndex];
    if (!epoch || !epoch.step) return;
    const x = chart.valToPos(epoch.step, "x", true);
    const { left, top, width, height } = chart.bbox;
    if (x < left || x > left + width) return;
    chart.ctx.save();
    chart.ctx.strokeStyle = colour("bad");
    chart.ctx.lineWidth = 2 * devicePixelRatio;
    chart.ctx.setLineDash([]);
    chart.ctx.beginPath();
    chart.ctx.moveTo(x, top);
    chart.ctx.lineTo(x, top + height);
    chart.ctx.stroke();
    chart.ctx.restore();
  }

  // All charts show the same steps.
  let isSharing = false;
  function shareRange(min, max) {
    if (isSharing) return;
    isSharing = true;
    charts.forEach((chart) => chart.setScale("x", { min, max }));
    isSharing = false;
  }

  const axis = () => ({ stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } });
  const shown = (value) => (value === null || value === undefined ? "-" : Number(value).toPrecision(3));

  function drawCharts() {
    if (!data.curves.steps.length) return;
    const range = charts.length ? { ...charts[0].scales.x } : null;
    charts.forEach((chart) => chart.destroy());
    charts = all(".chart").map((place) => {
      const column = place.dataset.column;
      const frameworks = data.frameworks.filter(({ key }) => key in data.curves.series[column]);
      const options = {
        width: place.clientWidth,
        height: 230,
        cursor: { sync: { key: "steps" }, drag: { x: true, y: false } },
        scales: { x: { time: false }, y: { distr: isLogarithmic.checked ? 3 : 1 } },
        axes: [axis(), { ...axis(), size: 48 }],
        series: [
          { label: "step", value: (_, step) => step ?? "-" },
          ...frameworks.map(({ key, name }) => ({
            label: name,
            stroke: colour(key),
            width: 1.6,
            dash: key === "jax" ? [7, 3] : undefined,
            points: { show: false },
            value: (_, value) => shown(value),
          })),
        ],
        hooks: {
          draw: [drawEpoch],
          setScale: [(chart, key) => key === "x" && charts.includes(chart) && shareRange(chart.scales.x.min, chart.scales.x.max)],
        },
      };
      return new uPlot(options, dataOf(column), place);
    });
    if (range && range.min !== null) shareRange(range.min, range.max);
  }

  function zoom(factor, shift) {
    const { min, max } = charts[0].scales.x;
    const first = data.curves.steps[0], last = data.curves.steps.at(-1);
    const middle = (min + max) / 2 + shift * (max - min), half = ((max - min) / 2) * factor;
    shareRange(Math.max(first, middle - half), Math.min(last, middle + half));
  }

  if (data.curves.steps.length) {
    const actions = { in: () => zoom(0.5, 0), out: () => zoom(2, 0), left: () => zoom(1, -0.5), right: () => zoom(1, 0.5) };
    actions.all = () => shareRange(data.curves.steps[0], data.curves.steps.at(-1));
    all("button[data-zoom]").forEach((button) => button.addEventListener("click", actions[button.dataset.zoom]));
    smoothing.max = Math.max(2, Math.round(data.curves.steps.length / 20));
    smoothing.value = Math.max(1, Math.round(data.curves.steps.length / 100));
    const saySmoothing = () => {
      const number = Number(smoothing.value) * data.curves.steps_per_point;
      find("#smoothing-words").textContent = number < 2 ? "every step" : `mean of ${number} steps`;
    };
    smoothing.addEventListener("input", () => {
      saySmoothing();
      charts.forEach((chart, index) => chart.setData(dataOf(all(".chart")[index].dataset.column), false));
      charts.forEach((chart) => chart.redraw(true));
    });
    isLogarithmic.addEventListener("change", drawCharts);
    saySmoothing();
    drawCharts();
    new ResizeObserver(() => {
      charts.forEach((chart, index) => {
        const width = all(".chart")[index].clientWidth;
        if (width && width !== chart.width) chart.setSize({ width, height: chart.height });
      });
    }).observe(find("main"));
  }

  // Epochs.
  const slider = find("#epoch");
  const play = find("#play");
  let timer = null;

  function showEpoch(index) {
    epochIndex = index;
    const { epoch, step } = data.epochs[index];
    slider.value = index;
    const words = epoch ? `epoch ${epoch}, step ${step.toLocaleString("en")}` : "before training";
    slider.setAttribute("aria-valuetext", words);
    find("#epoch-words").textContent = words;
    for (const [key, frames] of Object.entries(data.frames)) find(`#grid-${key} img`).src = frames[index];
    charts.forEach((chart) => chart.redraw(false));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }

  function start() {
    if (epochIndex === data.epochs.length - 1) showEpoch(0);
    timer = setInterval(() => (epochIndex < data.epochs.length - 1 ? showEpoch(epochIndex + 1) : stop()), 700);
    play.textContent = "Pause";
  }

  // A digit's history: the same latent after each epoch, and where the frameworks differ.
  const chosen = find("#digit");
  const frames = {};

  const loaded = (url) =>
    new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = reject;
      image.src = url;
    });

  // The sides of one digit and of what separates two, in pixels of a grid.
  const geometry = (image) => {
    const side = (image.width - data.gap * (data.columns - 1)) / data.columns;
    return { side, step: side + data.gap };
  };

  function cut(image, index) {
    const { side, step } = geometry(image);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = side;
    canvas.className = "digits";
    const [x, y] = [index % data.columns, Math.floor(index / data.columns)].map((place) => place * step);
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, x, y, side, side, 0, 0, side, side);
    return canvas;
  }

  // White where both are equal, the darker the further apart.
  function difference(first, second) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = first.width;
    canvas.className = "digits";
    const pixels = (of) => of.getContext("2d").getImageData(0, 0, first.width, first.width);
    const [a, b] = [pixels(first), pixels(second)];
    for (let i = 0; i < a.data.length; i += 4) {
      const level = 255 - Math.max(...[0, 1, 2].map((channel) => Math.abs(a.data[i + channel] - b.data[i + channel])));
      a.data.set([level, level, level, 255], i);
    }
    canvas.getContext("2d").putImageData(a, 0, 0);
    return canvas;
  }

  function addRow(name, canvases) {
    const label = document.createElement("span");
    const strip = document.createElement("div");
    label.textContent = name;
    strip.className = "strip";
    strip.setAttribute("role", "img");
    strip.setAttribute("aria-label", `${name}: digit ${chosen.value}, one picture an epoch`);
    canvases.forEach((canvas, index) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = data.epochs[index].epoch;
      figure.append(canvas, caption);
      strip.append(figure);
    });
    find("#history").append(label, strip);
  }

  async function showHistory() {
    const index = Math.min(64, Math.max(1, Math.round(Number(chosen.value)) || 1)) - 1;
    for (const [key, urls] of Object.entries(data.frames)) frames[key] ??= await Promise.all(urls.map(loaded));
    find("#history").replaceChildren();
    const rows = data.frameworks.filter(({ key }) => key in frames).map(({ key, name }) => [name, frames[key].map((image) => cut(image, index))]);
    rows.forEach(([name, canvases]) => addRow(name, canvases));
    if (rows.length === 2) addRow("Difference", rows[0][1].map((canvas, epoch) => difference(canvas, rows[1][1][epoch])));
    for (const key of Object.keys(frames)) markDigit(key, index);
  }

  function markDigit(key, index) {
    const image = frames[key][0], frame = find(`#grid-${key} i`) ?? document.createElement("i");
    const { side, step } = geometry(image);
    const percent = (pixels) => `${(100 * pixels) / image.width}%`;
    frame.style.left = percent((index % data.columns) * step);
    frame.style.top = percent(Math.floor(index / data.columns) * step);
    frame.style.width = frame.style.height = percent(side);
    find(`#grid-${key}`).append(frame);
  }

  if (data.epochs.length) {
    slider.max = data.epochs.length - 1;
    slider.addEventListener("input", () => (stop(), showEpoch(Number(slider.value))));
    play.addEventListener("click", () => (timer ? stop() : start()));
    chosen.addEventListener("input", showHistory);
    for (const key of Object.keys(data.frames)) {
      find(`#grid-${key} img`).addEventListener("click", (event) => {
        const box = event.target.getBoundingClientRect();
        const [column, row] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) =>
          Math.min(data.columns - 1, Math.floor(share * data.columns)),
        );
        chosen.value = 1 + row * data.columns + column;
        showHistory();
      });
    }
    showEpoch(epochIndex);
    showHistory();
  }
})();
