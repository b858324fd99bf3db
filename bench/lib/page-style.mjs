/** The page's style: the system's own fonts, light and dark. */
export const STYLE = `
:root {
  --page: #f6f5f1; --card: #fff; --ink: #1d2125; --soft: #646c75; --line: #e3e1da;
  --grid: #e9e7e0; --one: #8b929a; --faster: #2f7d6b; --slower: #c9822b; --target: #1d2125;
  --unmet: #b3372f; --ours: #f0f5f2; --link: #1f6a8c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2024; --ink: #e4e6e8; --soft: #98a1aa; --line: #2c3238;
    --grid: #2a2f35; --one: #7d8790; --faster: #4fae97; --slower: #d99a4a; --target: #f2f3f4;
    --unmet: #ec7168; --ours: #1f2a28; --link: #74bada;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
header, main { max-width: 1500px; margin: 0 auto; padding: 0 28px; }
header { padding-top: 36px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -0.02em; }
h1 span { font-weight: 400; color: var(--soft); }
h2 { font-size: 22px; margin: 0 0 6px; letter-spacing: -0.01em; }
h3 { font-size: 15px; margin: 0 0 8px; }
.where { color: var(--soft); margin: 6px 0 0; }
.warning { border-left: 4px solid var(--slower); padding: 6px 12px; background: var(--card); }
section { margin: 44px 0; }
section > p { max-width: 85ch; color: var(--soft); margin: 0 0 16px; }
a { color: var(--link); }
.summary {
  display: flex; flex-wrap: wrap; gap: 12px 48px; align-items: center; margin: 24px 0 16px;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px 24px;
}
.summary > div { flex: 1 1 320px; }
.score { font-size: 20px; margin: 0; }
.score b { font-size: 46px; letter-spacing: -0.03em; margin-right: 4px; }
.summary ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; margin: 4px 0 12px; }
.legend, .note, figcaption { color: var(--soft); font-size: 13.5px; margin: 0; }
.legend i { display: inline-block; width: 16px; height: 10px; margin: 0 1px; }
.legend i.faster { background: var(--faster); }
.legend i.slower { background: var(--slower); }
.legend i.tick { width: 3px; height: 14px; background: var(--target); vertical-align: -2px; margin: 0 5px; }
figure { margin: 0; flex: 0 1 560px; }
figure svg { max-width: 100%; height: auto; }
.missed { border-left: 4px solid var(--unmet); padding: 4px 16px; font-size: 14px; }
.missed summary { cursor: pointer; font-weight: 600; }
.missed ul { columns: 2 420px; column-gap: 40px; padding-left: 0; list-style: none; margin: 6px 0; color: var(--soft); }
.missed b { color: var(--unmet); font-variant-numeric: tabular-nums; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(660px, 100%), 1fr)); gap: 20px; }
article {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px 12px; overflow-x: auto;
}
h3 small { display: none; font-weight: 400; color: var(--soft); }
article.wide { grid-column: 1 / -1; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 0 6px; line-height: 20px; text-align: right; white-space: nowrap; font-weight: 400; }
thead th { color: var(--soft); font-size: 12.5px; padding-bottom: 4px; vertical-align: bottom; }
th.text, td.text { text-align: left; }
.plot { width: 238px; }
td.plot, th.plot { line-height: 0; text-align: left; padding: 0 4px; }
td.plot svg { display: block; }
tbody { border-top: 1px solid var(--line); }
tbody th { vertical-align: top; font-weight: 600; padding-top: 4px; padding-left: 0; }
tbody th small { display: block; font-weight: 400; color: var(--soft); }
tr.ours td { background: var(--ours); font-weight: 600; height: 20px; }
td.faster { color: var(--faster); font-weight: 600; }
td.slower { color: var(--slower); font-weight: 600; }
td.met { color: var(--soft); }
td.unmet { color: var(--unmet); font-weight: 600; }
svg text { fill: var(--soft); font-size: 12px; text-anchor: middle; }
svg text.row { fill: var(--ink); font-size: 14px; text-anchor: start; }
svg .grid { stroke: var(--grid); }
svg .one { stroke: var(--one); stroke-width: 1.5; }
svg .faster { fill: var(--faster); }
svg .slower { fill: var(--slower); }
svg circle { fill-opacity: 0.85; stroke: var(--card); }
svg circle.unmet { fill: var(--unmet); }
svg .spread { stroke: var(--ink); stroke-width: 1.5; }
svg .target { stroke: var(--target); stroke-width: 3; }
svg .target.unmet { stroke: var(--unmet); }
#conditions ul { max-width: 100ch; padding-left: 20px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); gap: 0 32px; font-size: 14px; }
dl div { display: flex; gap: 12px; border-top: 1px solid var(--line); padding: 4px 0; }
dt { flex: 0 0 150px; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
/* A table that does not fit scrolls, and says so: nothing else shows that there is more of it. */
@media (max-width: 900px) { article.wide h3 small { display: inline; } }
@media (max-width: 720px) {
  h3 small { display: inline; }
  header, main { padding: 0 12px; }
  article { padding: 12px 10px; border-right: 3px solid var(--one); }
  .summary { padding: 14px; }
}
@media print { article, .summary { break-inside: avoid; } }
`;
