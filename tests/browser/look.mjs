// Looks at a page as a reader's browser shows it, and prints what it sees as JSON. It judges nothing: the test does.
//
// Arguments: the page, and a folder for pictures and the printed page. PLAYWRIGHT is the folder of playwright-core,
// CHROMIUM the browser.

import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { chromium } = await import(pathToFileURL(join(process.env.PLAYWRIGHT, "index.mjs")));
const [page, folder] = process.argv.slice(2).map((path) => resolve(path));
const address = pathToFileURL(page).href;

// A profile of its own, and none of what a browser does by itself.
const profile = mkdtempSync(join(tmpdir(), "reports-in-a-browser-"));
const args = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

// Runs in the page.
function seen() {
  const box = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x, y, width, height };
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const light = (channel) => (channel /= 255) <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const contrast = (element, property) => {
    const one = luminance(rgb(getComputedStyle(element)[property]));
    const two = luminance(behind(element));
    return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  };
  const least = (selector, property) =>
    Math.min(...all(selector).filter((it) => it.getClientRects().length > 0).map((it) => contrast(it, property)));
  return {
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    charts: all("svg.chart").map(box),
    bars: all("svg.chart .bar").map(box),
    clipped: all("h1, h2, p, dt, dd, summary, .number, .time")
      .filter((it) => it.clientWidth > 0 && it.scrollWidth > it.clientWidth + 1)
      .map((it) => it.textContent.trim()),
    textContrast: least("body, .made, .period, dt, dd, th, td, .remark, summary", "color"),
    barContrast: least(".bar", "fill"),
  };
}

const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM, args, headless: true, viewport: { width: 1200, height: 1000 },
});
try {
  const tab = await browser.newPage();
  const requests = [], said = [];
  tab.on("request", (request) => requests.push(request.url()));
  tab.on("console", (message) => said.push(message.text()));
  tab.on("pageerror", (error) => said.push(String(error)));
  tab.on("dialog", (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  await tab.goto(address);

  const views = {};
  for (const [name, width, colorScheme] of [["desktop", 1200, "light"], ["dark", 1200, "dark"], ["phone", 390, "light"]]) {
    await tab.setViewportSize({ width, height: 1000 });
    await tab.emulateMedia({ colorScheme });
    views[name] = await tab.evaluate(seen);
    await tab.screenshot({ path: join(folder, `${name}.png`) });
  }
  await tab.emulateMedia({ media: "print", colorScheme: "dark" });
  views.print = await tab.evaluate(seen);
  const paper = await tab.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await tab.pdf({ path: join(folder, "page.pdf"), preferCSSPageSize: true, printBackground: true });
  await tab.emulateMedia({ media: "screen", colorScheme: "light" });

  const document_ = await tab.evaluate(() => ({
    texts: Object.fromEntries([...document.querySelectorAll("[id]")].map((it) => [it.id, it.innerText.trim()])),
    cells: [...document.querySelectorAll("td, th, dd, bdi")].map((it) => it.textContent),
    figures: [...document.querySelectorAll(".behind")].map((table) =>
      [...table.querySelectorAll("tbody tr")].map((row) => [...row.children].map((it) => it.textContent))),
    sessions: document.querySelectorAll("#session-rows tbody tr").length,
    foreign: document.querySelectorAll("script, img, iframe, object, embed, link, audio, video").length,
    titles: [...document.querySelectorAll("svg.chart")].map((it) => it.getAttribute("aria-label")),
    language: document.documentElement.lang,
  }));
  console.log(JSON.stringify({ address, requests, said, views, paper, ...document_ }));
} finally {
  await browser.close();
}
