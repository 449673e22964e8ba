"""The style sheet of a report's page: light and dark, wide and narrow."""

STYLE = """
:root{color-scheme:light dark;
--page:#f5f6f8;--card:#fff;--ink:#1b1f27;--soft:#5b6472;--rule:#dfe3e9;--line:#2563c9;--model:#8a3fc4;--other:#6b7280;
--excellent:#15936a;--good:#86a80f;--poor:#d9730b;--lost:#c32a2a;--none:#aab1bb;--mark:#3f4a5a}
@media (prefers-color-scheme:dark){:root{
--page:#12151a;--card:#1a1e25;--ink:#e8ebf0;--soft:#a0a9b8;--rule:#2d343f;--line:#79aaff;--model:#cf9bff;--other:#8e97a6;
--excellent:#35b98a;--good:#aac83a;--poor:#f0953c;--lost:#ef6a64;--none:#5b6472;--mark:#dbe2ec}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
main{max-width:64rem;margin:0 auto;padding:1.25rem 1rem 3rem}
h1{font-size:1.35rem;line-height:1.3;margin:0}
h2{font-size:1.05rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0}
p{margin:.35rem 0}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--rule);border-radius:.7rem;padding:1rem;margin:0 0 .9rem}
.hero{display:grid;grid-template-columns:fit-content(50%) 1fr;gap:.2rem 1.4rem;align-items:center;margin-top:1rem}
.word{font-size:2rem;font-weight:700;line-height:1.1}
.word small{display:block;line-height:1.4;font-size:.85rem;font-weight:400;color:var(--soft);margin-top:.25rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:.7rem 1.2rem;margin:.9rem 0 0}
.tiles.first{margin:0}
.tiles div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
.tiles dt{color:var(--soft);font-size:.8rem;line-height:1.3}
.tiles dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.head{display:flex;flex-wrap:wrap;gap:.1rem .8rem;align-items:baseline;justify-content:space-between}
.verdict{font-weight:600;white-space:nowrap}
.dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.4em}
.key{display:inline-block}
.shares{display:flex;height:.8rem;border-radius:.4rem;overflow:hidden;background:var(--rule);gap:1px}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1rem;font-size:.8rem;color:var(--soft);margin:.4rem 0 0;padding:0;
list-style:none}
.b-excellent{background:var(--excellent)}.b-good{background:var(--good)}.b-poor{background:var(--poor)}
.b-lost{background:var(--lost)}.b-none{background:var(--none)}
.b-line{background:var(--line)}.b-model{background:var(--model)}.b-other{background:var(--other)}
figure{margin:.9rem 0 0}
figcaption{display:flex;flex-wrap:wrap;gap:0 .8rem;justify-content:space-between;font-size:.82rem}
figcaption b{font-weight:600}
.plot{display:grid;grid-template-columns:4.7rem 1fr;gap:0 .5rem}
.axis{display:flex;flex-direction:column;justify-content:space-between;text-align:right;font-size:.72rem;line-height:1;
color:var(--soft);font-variant-numeric:tabular-nums}
.times{position:relative;height:1.2em;font-size:.72rem;color:var(--soft);margin:.25rem 0 0 5.2rem;
font-variant-numeric:tabular-nums}
.times span{position:absolute;white-space:nowrap}
svg{display:block;width:100%;height:5.5rem;overflow:visible}
.strip svg{height:1.1rem;border-radius:.25rem;overflow:hidden;background:var(--rule)}
.strip{display:grid;grid-template-columns:4.7rem 1fr;gap:.3rem .5rem;align-items:center;margin-top:.6rem;
font-size:.75rem;color:var(--soft)}
.strip span{text-align:right;line-height:1.1}
.strip.words svg{height:1.5rem}
.rule{stroke:var(--rule);stroke-width:1;vector-effect:non-scaling-stroke}
polyline{fill:none;stroke-width:2;vector-effect:non-scaling-stroke;stroke-linejoin:round}
polyline.line{stroke:var(--line)}polyline.model{stroke:var(--model);stroke-dasharray:6 4}
polyline.other{stroke:var(--other);stroke-dasharray:2 4}polyline.bad{stroke:var(--lost)}
.area{stroke:none;fill:var(--line);opacity:.14}.area.bad{fill:var(--lost)}
rect.excellent{fill:var(--excellent)}rect.good{fill:var(--good)}rect.poor{fill:var(--poor)}rect.lost{fill:var(--lost)}
rect.mark{fill:var(--mark)}rect.muted{fill:var(--none)}
.bands rect{opacity:.13}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem}
th{font-weight:600;text-align:left;color:var(--soft);font-size:.78rem}
th,td{padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child td{border-bottom:0}
thead+tbody th{color:inherit;font-size:inherit;font-weight:400}
.why{width:42%}
.scroll table:not(.stack) :is(td,th){white-space:nowrap}
.scroll table:not(.stack) a{min-width:12rem;white-space:normal}
th{overflow-wrap:normal}
td a{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:3;overflow:hidden}
a{color:inherit;text-underline-offset:.15em;text-decoration-color:var(--soft)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--line);outline-offset:2px}
summary{cursor:pointer;font-size:.82rem;color:var(--soft);margin-top:.7rem}
.card:target{border-color:var(--line)}
.num{font-variant-numeric:tabular-nums;white-space:nowrap}
.pattern{font-weight:600;white-space:nowrap}
@media (max-width:34rem){.hero{grid-template-columns:1fr}main{padding:1rem .7rem 2rem}.card{padding:.8rem}
.stack thead{position:absolute;clip-path:inset(50%)}
.stack tr{display:block;padding:.5rem 0;border-bottom:1px solid var(--rule)}
.stack tr:last-child{border-bottom:0}.stack td{display:block;width:auto;border:0;padding:0}}
@media print{.card{break-inside:avoid}}
"""
