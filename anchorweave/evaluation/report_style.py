"""The style sheet and the script of a report page.

Without the script, tables keep their original order and every video has its own controls.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --raised: #ffffff; --ink: #1c1e21; --soft: #5c6168; --rule: #d9dbde;
  --warn: #fdf0d5;
  --c0: #1f6fb0; --c1: #c8372f; --c2: #2c8a3d; --c3: #c96f08; --c4: #7d57b0;
  --c5: #84564b; --c6: #bf4f9d; --c7: #63676c; --c8: #8a8b12; --c9: #108a99;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16181b; --raised: #1e2125; --ink: #e7e8ea; --soft: #a2a8b0; --rule: #383d44;
    --warn: #40351c;
    --c0: #63a9e6; --c1: #f0776f; --c2: #67c279; --c3: #f0a24a; --c4: #b394e0;
    --c5: #c29487; --c6: #e78fc9; --c7: #a9adb3; --c8: #c9ca54; --c9: #4cc4d3;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem .75rem 4rem; background: var(--ground);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; }
p, figcaption, summary { max-width: 46rem; }
nav a { margin-right: 1rem; }
a { color: var(--c0); }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { margin: .25rem 0; padding: .5rem .75rem; background: var(--raised); white-space: pre-wrap;
  border: 1px solid var(--rule); border-radius: 4px; overflow-wrap: anywhere; }
.soft, .tile dt { color: var(--soft); }
.warn { background: var(--warn); padding: .5rem .75rem; border-radius: 4px; }
.wide { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--rule); text-align: right;
  vertical-align: top; white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; white-space: normal; min-width: 6rem;
  max-width: 11rem; }
.words { text-align: left; white-space: normal; overflow-wrap: anywhere; }
td.words { min-width: 7rem; max-width: 24rem; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--ground);
  min-width: min(9rem, 30vw); max-width: 14rem; }
td small { display: block; color: var(--soft); font-size: 12px; }
th button { all: unset; cursor: pointer; text-decoration: underline dotted; }
th button:focus-visible { outline: 2px solid var(--c0); }
th[aria-sort=descending] button::after { content: " ↓"; }
th[aria-sort=ascending] button::after { content: " ↑"; }
.plots { display: grid; gap: 1rem 2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.plot { margin: .5rem 0; min-width: 0; }
.plot figcaption { font-weight: 600; font-size: 14px; }
.plot svg { display: block; width: 100%; max-width: 38rem; }
svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.axis { stroke: var(--rule); } .whisker { stroke: currentColor; stroke-width: 1.2; }
.line { fill: none; stroke-width: 1.8; } .thin { stroke-width: 1; }
.up { fill: var(--c0); } .down { fill: var(--c3); }
.lines { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.tiles { display: flex; gap: 1rem; align-items: flex-start; max-width: 100%; overflow-x: auto; }
.tile { margin: 0; flex: none; width: min(var(--width), 90vw); }
.tile figcaption { font-weight: 600; font-size: 14px; overflow-wrap: anywhere; }
.tile video { display: block; width: 100%; height: auto; image-rendering: pixelated;
  background: #000; }
.tile dl { display: grid; grid-template-columns: 1fr auto; gap: 0 .75rem; margin: .25rem 0 0;
  font-size: 13px; font-variant-numeric: tabular-nums; }
.tile dd { margin: 0; text-align: right; }
.tile p { margin: .25rem 0; font-size: 13px; }
.bar { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; position: sticky; top: 0;
  z-index: 1; padding: .4rem 0; background: var(--ground); }
.bar[hidden] { display: none; }
.bar button { font: inherit; min-width: 5rem; padding: .2rem .75rem; }
.bar input { flex: 1 1 8rem; max-width: 24rem; }
""" + "".join(
    f".colour{i} {{ fill: var(--c{i}); }} .line.colour{i} {{ fill: none; stroke: var(--c{i}); }}\n"
    for i in range(10)
)

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const sign = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      const cell = row => row.cells[column];
      const compare = (one, other) => {
        const a = cell(one).dataset.value, b = cell(other).dataset.value;
        // Cells without a number stay at the bottom in either direction.
        if (a !== undefined || b !== undefined)
          return a === undefined ? 1 : b === undefined ? -1 : sign * (a - b);
        return -sign * cell(one).textContent.localeCompare(cell(other).textContent);
      };
      body.append(...[...body.rows].sort(compare));
    };
  });
}

for (const clip of document.querySelectorAll(".clip")) {
  const videos = [...clip.querySelectorAll("video")];
  if (!videos.length) continue;
  const bar = clip.querySelector(".bar"), button = bar.querySelector("button");
  const slider = bar.querySelector("input"), output = bar.querySelector("output");
  const fps = Number(clip.dataset.fps), frames = Number(slider.max) + 1;
  const first = Number(clip.dataset.start);
  let playing = false, wanted = 0;
  for (const video of videos) {
    // Some browsers cannot seek in a data URI, but all can in a blob of the same bytes.
    const bytes = Uint8Array.from(atob(video.src.split(",")[1]), c => c.charCodeAt(0));
    video.src = URL.createObjectURL(new Blob([bytes], {type: "video/mp4"}));
    video.controls = video.loop = false;
  }
  const show = frame => {
    slider.value = frame;
    output.textContent = `frame ${frame + 1} of ${frames}`;
  };
  const seek = frame => {
    show(frame);
    return Promise.all(videos.map(video => new Promise(done => {
      video.addEventListener("seeked", done, {once: true});
      video.currentTime = (frame + .5) / fps;
    })));
  };
  const stop = () => {
    playing = false;
    button.textContent = "Play";
    videos.forEach(video => video.pause());
  };
  const start = async frame => {
    const turn = ++wanted;
    playing = true;
    button.textContent = "Pause";
    await seek(frame);
    if (!playing || turn !== wanted) return;
    await Promise.all(videos.map(video => video.play()));
    if (playing && turn === wanted) requestAnimationFrame(() => follow(turn));
  };
  // All videos follow the first one's time; at its end all restart together.
  const follow = turn => {
    if (!playing || turn !== wanted) return;
    const time = videos[0].currentTime;
    if (videos[0].ended) return start(0);
    for (const video of videos)
      if (!video.seeking && Math.abs(video.currentTime - time) > .5 / fps)
        video.currentTime = time;
    show(Math.min(frames - 1, Math.floor(time * fps)));
    requestAnimationFrame(() => follow(turn));
  };
  button.onclick = () => {
    if (playing) return stop();
    const frame = Number(slider.value);
    start(frame < frames - 1 ? frame : 0);
  };
  slider.oninput = () => { stop(); seek(Number(slider.value)); };
  seek(first);
  bar.hidden = false;
}
"""
