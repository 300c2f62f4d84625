"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const element = (tag, properties = {}, children = []) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  // Sorting: numbers by value, other cells by text. Rows without a number go last in both directions.
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    return { value: cell.dataset.value === undefined ? null : Number(cell.dataset.value), text };
  };
  const sortBy = (heading) => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of all("th[aria-sort]", table)) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.dataset.sorted = "";
    const numeric = all("tbody tr", table).some((row) => row.cells[column].dataset.value !== undefined);
    const rows = all("tbody tr", table).map((row) => ({ row, ...keyOf(row, column) }));
    rows.sort((first, second) => {
      if (numeric && (first.value === null || second.value === null)) {
        return (first.value === null) - (second.value === null);
      }
      const order = numeric
        ? first.value - second.value
        : first.text.localeCompare(second.text, "en", { numeric: true });
      return descending ? -order : order;
    });
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };
  for (const button of all("th[aria-sort] button")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }

  // The filter keeps the rows whose data set or method contains every word.
  const filter = byId("filter");
  const applyFilter = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, count = 0;
    for (const row of all("table.sortable tbody tr")) {
      const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
      count += 1;
    }
    byId("filter-count").textContent = words.length ? `${shown} of ${count} rows` : "";
  };
  filter.addEventListener("input", applyFilter);

  // The number of a mark shows when the pointer or the keyboard reaches it.
  const tip = byId("tip");
  const showTip = (point) => {
    tip.textContent = point.getAttribute("aria-label");
    tip.hidden = false;
    const box = point.getBoundingClientRect();
    const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${box.top + scrollY - tip.offsetHeight - 8}px`;
  };
  for (const point of all(".point")) {
    point.addEventListener("pointerenter", () => showTip(point));
    point.addEventListener("focus", () => showTip(point));
    for (const leaving of ["pointerleave", "blur"]) {
      point.addEventListener(leaving, () => { tip.hidden = true; });
    }
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  for (const button of all(".legend button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      const charts = button.closest(".curves");
      for (const series of all(`svg.chart g[data-series="${button.dataset.series}"]`, charts)) {
        series.classList.toggle("dimmed", !shown);
      }
    });
  }

  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      const label = button.firstChild;
      try {
        await navigator.clipboard.writeText(code.textContent);
        label.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        label.textContent = "Selected";
      }
      setTimeout(() => { label.textContent = "Copy"; }, 1500);
    });
  }

  // The gallery.
  const galleries = JSON.parse(byId("gallery-data").textContent);
  if (!galleries.length) return;
  const GREY = 128;
  // matplotlib's "inferno" at nine evenly spaced places.
  const COLOURS = [
    [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10],
    [249, 201, 50], [252, 255, 164],
  ];
  const colourOf = (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (COLOURS.length - 1);
    const below = Math.min(Math.floor(place), COLOURS.length - 2);
    return COLOURS[below].map((low, channel) => low + (COLOURS[below + 1][channel] - low) * (place - below));
  };
  const pixels = new Map();
  const decode = async (source, width, height) => {
    if (!pixels.has(source)) {
      pixels.set(source, (async () => {
        const image = new Image();
        image.src = `data:image/png;base64,${source}`;
        await image.decode();
        const canvas = element("canvas", { width: image.width, height });
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        return context;
      })());
    }
    const context = await pixels.get(source);
    return (position) => context.getImageData(position * width, 0, width, height).data;
  };
  const drawn = (data, width, height, label) => {
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    if (label) {
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", label);
    }
    return canvas;
  };
  const errorsOf = (complete, imputed) => {
    const errors = new Float64Array(complete.length / 4);
    for (let pixel = 0; pixel < errors.length; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        errors[pixel] += ((complete[4 * pixel + channel] - imputed[4 * pixel + channel]) / 255) ** 2 / 3;
      }
    }
    return errors;
  };
  const errorMap = (errors, brightest) => {
    const data = new Uint8ClampedArray(4 * errors.length);
    errors.forEach((error, pixel) => data.set([...colourOf(error / brightest), 255], 4 * pixel));
    return data;
  };
  const seen = (complete, observed) =>
    complete.map((value, place) => (place % 4 === 3 || observed[place - (place % 4)] ? value : GREY));
  const rootMean = (errors, observed) => {
    let sum = 0, count = 0;
    errors.forEach((error, pixel) => {
      if (!observed[4 * pixel]) { sum += error; count += 1; }
    });
    return count ? Math.sqrt(sum / count).toFixed(4) : "–";
  };

  let gallery = galleries[0], image = 0, turn = 0;
  const table = byId("gallery-table");
  const enlarged = byId("enlarged");
  const enlarge = (title, parts) => {
    byId("enlarged-title").textContent = title;
    byId("enlarged-images").replaceChildren(...parts.map(([name, data]) =>
      element("figure", {}, [drawn(data, gallery.width, gallery.height, name), element("figcaption", { textContent: name })])));
    enlarged.showModal();
  };
  byId("enlarged-close").addEventListener("click", () => enlarged.close());

  const decodeAll = async () => {
    const { width, height } = gallery;
    const take = async (source) => source && (await decode(source, width, height))(image);
    return {
      complete: await take(gallery.complete),
      observed: await Promise.all(gallery.rates.map(({ observed }) => take(observed))),
      imputed: await Promise.all(gallery.methods.map(({ imputed }) => Promise.all(imputed.map(take)))),
    };
  };
  const cellOf = (method, at, found, errors, brightest) => {
    const { width, height } = gallery;
    const imputed = found.imputed[method][at];
    if (!imputed) return element("td", { textContent: "no image" });
    const name = `${gallery.methods[method].label}, ${gallery.rates[at].rate} missing`;
    const map = errorMap(errors[method][at], brightest);
    const button = element("button", { type: "button" }, [
      drawn(imputed, width, height, `imputed by ${name}`),
      drawn(map, width, height, `squared errors of ${name}`),
    ]);
    button.lastChild.classList.add("errors");
    button.addEventListener("click", () => enlarge(`${name}, test image ${gallery.images[image]}`, [
      ["complete", found.complete], ["observed", seen(found.complete, found.observed[at])],
      ["imputed", imputed], ["squared errors", map],
    ]));
    return element("td", {}, [button, rootMean(errors[method][at], found.observed[at])]);
  };
  const show = async () => {
    const mine = (turn += 1);
    const found = await decodeAll();
    if (mine !== turn) return;
    const { width, height } = gallery;
    const errors = found.imputed.map((row) => row.map((data) => data && errorsOf(found.complete, data)));
    const sorted = Float64Array.from(errors.flat().filter(Boolean).flatMap((one) => [...one])).sort();
    const brightest = Math.max(sorted[Math.floor(0.995 * (sorted.length - 1))], 1e-4);
    byId("error-range").textContent = `0 to ${brightest.toPrecision(2)} and above`;
    byId("image-name").textContent = `Test image ${gallery.images[image]} (${image + 1} of ${gallery.images.length})`;
    const wanted = byId("gallery-filter").value.toLowerCase();
    const methods = gallery.methods.flatMap(({ label }, at) => (label.toLowerCase().includes(wanted) ? [at] : []));
    const heading = element("tr", {}, ["", "observed / complete", ...methods.map((at) => gallery.methods[at].label)]
      .map((textContent) => element("th", { scope: "col", textContent })));
    const rows = gallery.rates.map(({ rate }, at) => element("tr", {}, [
      element("th", { scope: "row", textContent: `${rate} missing` }),
      element("td", {}, [
        drawn(seen(found.complete, found.observed[at]), width, height, `observed, ${rate} missing`),
        drawn(found.complete, width, height, "complete"),
      ]),
      ...methods.map((method) => cellOf(method, at, found, errors, brightest)),
    ]));
    table.replaceChildren(element("thead", {}, [heading]), element("tbody", {}, rows));
    table.dataset.image = image;
    all("#thumbnails button").forEach((button, at) => button.setAttribute("aria-pressed", String(at === image)));
  };
  const choose = (position) => {
    image = (position + gallery.images.length) % gallery.images.length;
    return show();
  };
  const open = async () => {
    gallery = galleries[Number(byId("gallery").value)];
    const take = await decode(gallery.complete, gallery.width, gallery.height);
    byId("thumbnails").replaceChildren(...gallery.images.map((name, at) => {
      const button = element("button", { type: "button" }, [drawn(take(at), gallery.width, gallery.height)]);
      button.setAttribute("aria-label", `test image ${name}`);
      button.addEventListener("click", () => choose(at));
      return button;
    }));
    await choose(Math.min(image, gallery.images.length - 1));
  };
  byId("gallery").addEventListener("change", open);
  byId("gallery-filter").addEventListener("input", show);
  byId("gallery-errors").addEventListener("change", (event) =>
    table.classList.toggle("without-errors", !event.target.checked));
  byId("image-before").addEventListener("click", () => choose(image - 1));
  byId("image-after").addEventListener("click", () => choose(image + 1));
  const scale = byId("error-scale").getContext("2d");
  for (let x = 0; x < 128; x += 1) {
    scale.fillStyle = `rgb(${colourOf(x / 127).join(" ")})`;
    scale.fillRect(x, 0, 1, 8);
  }
  // After the first paint, so that the images do not delay it.
  requestAnimationFrame(() => setTimeout(open, 0));
})();
