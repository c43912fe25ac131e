// The look of the page (html_report.h) and its small script, which it does not need. Light and dark follow the reader's
// system; print is light. Colours differ in lightness as well as in hue, and none carries a meaning alone: cells have
// signs, lines have dashes, bars have tooltips and tables beside them.
#pragma once

#include <string_view>

namespace invar {

inline constexpr std::string_view kReportStyle =
    R"css(
:root{color-scheme:light dark;
--paper:#f7f8f8;--card:#fff;--ink:#18212b;--soft:#56616c;--line:#dde2e6;--faint:#eef1f3;--grid:#e6eaed;
--equal:#0b6b5d;--equal-soft:#cfeae2;--differ:#a8281c;--differ-soft:#fadcd6;--idle:#525b66;--idle-soft:#e8ebee;
--total:#a3afb9;--quant:#0072b2;--round:#c25700;--bar:#4d7f9e;--mark:#c25700;--bad:#a8281c;
--h0:#f1f5dc;--h1:#d3e9c3;--h2:#a9dcb1;--h3:#76cda9;--h4:#3fbcab;--h5:#1fa8b1;--h6:#1b91b0;--h7:#2378a6;--h8:#2d5f95;--h9:#33487d;--h10:#313362;--h11:#272046;
--p0:#2f6f9f;--p1:#6aa5cc;--p2:#a9cbe2;--p3:#4b4f8c;--p4:#e0a23a;--p5:#8a939c;--p6:#bd6b45;--p7:#c3c9ce}
@media screen and (prefers-color-scheme:dark){:root{
--paper:#12171c;--card:#1a2027;--ink:#e5eaee;--soft:#9ca8b3;--line:#303942;--faint:#222a32;--grid:#2a333b;
--equal:#0c5b50;--equal-soft:#14463e;--differ:#8f281e;--differ-soft:#55231d;--idle:#4a535d;--idle-soft:#2a323a;
--total:#5f6c78;--quant:#56b4e9;--round:#f0963c;--bar:#6ba3c4;--mark:#f0963c;--bad:#ff7d6b;
--h0:#232038;--h1:#2a2f58;--h2:#274474;--h3:#1c5a88;--h4:#126f97;--h5:#17859f;--h6:#289aa0;--h7:#40ae9a;--h8:#63c18e;--h9:#90d284;--h10:#c0df88;--h11:#ecebab;
--p0:#4a90c2;--p1:#2f648a;--p2:#1f4560;--p3:#8286c9;--p4:#d39a3a;--p5:#78828c;--p6:#bd6b45;--p7:#4a535c}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word;-webkit-print-color-adjust:exact;print-color-adjust:exact}
code,pre,.hex,.bits{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;font-size:.9em}
main,.inner{max-width:1160px;margin:0 auto;padding:0 24px}
main{padding-bottom:56px}
h1,h2,h3,p,dl,dd,ul,figure,pre{margin:0;padding:0}
.vh{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.verdict{color:#fff;padding:30px 0 26px}
.verdict.equal{background:var(--equal)}.verdict.different{background:var(--differ)}.verdict.nothing{background:var(--idle)}
.eyebrow{font-size:13px;letter-spacing:.04em;opacity:.85}
.verdict h1{font-size:21px;line-height:1.3;font-weight:600;overflow-wrap:anywhere}
.word{display:flex;align-items:center;gap:16px;font-size:clamp(38px,8.4vw,68px);line-height:1.1;font-weight:750;letter-spacing:-.015em;margin:14px 0 6px}
.word span{flex:none;display:grid;place-items:center;width:1.06em;height:1.06em;border-radius:50%;background:rgba(255,255,255,.18);font-size:.76em;font-weight:600}
.sentence{font-size:18px;max-width:46em}.sentence,.lead{text-wrap:pretty}.sentence a{color:inherit;font-weight:600}
.meta{display:flex;flex-wrap:wrap;gap:10px 34px;margin-top:20px;padding-top:16px;border-top:1px solid rgba(255,255,255,.28);font-size:14px}
.meta dt{opacity:.8;font-size:12.5px}.meta dd{overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(168px,1fr));gap:1px;background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;margin:24px 0}
.tile{box-shadow:0 0 0 1px var(--line);padding:13px 16px}
.tile dt{font-size:13px;color:var(--soft)}
.tile dd{font-size:22px;line-height:1.35;font-weight:620;letter-spacing:-.015em}.tile dd.long{font-size:17.5px;line-height:1.7}
.tile small{display:block;font-size:12.5px;line-height:1.4;font-weight:400;color:var(--soft);letter-spacing:0}
sup{font-size:.68em;line-height:0;vertical-align:.45em}
.gaps{border-left:4px solid var(--idle);background:var(--idle-soft);border-radius:0 8px 8px 0;padding:12px 18px;margin:24px 0;font-size:14.5px}
.gaps code{white-space:nowrap}.gaps h2{font-size:14.5px;margin:0 0 2px}.gaps ul{padding-left:1.15em}
section{margin-top:46px}
h2{font-size:23px;line-height:1.25;font-weight:650;letter-spacing:-.01em;margin-bottom:6px}
h3{font-size:15.5px;font-weight:620;margin:22px 0 4px}
.lead{color:var(--soft);max-width:72ch;margin-bottom:16px}.lead:empty{display:none}
.lead b,.lead code{color:var(--ink)}
.note{color:var(--soft);font-size:14px}ul.note{padding:10px 0 0 1.15em}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch;max-width:100%}
table{border-collapse:collapse}
th{font-weight:500;text-align:left}
.list{width:100%;font-size:14.5px}
.list th{color:var(--soft);font-size:13px;vertical-align:bottom;padding:6px 12px 6px 0;border-bottom:1px solid var(--line)}
.list td{padding:7px 12px 7px 0;border-bottom:1px solid var(--faint);vertical-align:top}
.list .n{text-align:right;white-space:nowrap}.list .n+:not(.n){padding-left:14px}
.list th:last-child,.list td:last-child{padding-right:0}.list tr:last-child td{border-bottom:0}.list .sum td{font-weight:620;border-top:1px solid var(--line)}
.short{max-width:680px}.short td:first-child{overflow-wrap:anywhere}
.tight td,.tight th{padding-top:4px;padding-bottom:4px;font-size:13.5px;white-space:nowrap}
details{margin-top:14px}
summary{cursor:pointer;color:var(--soft);font-size:14.5px;padding:4px 0;width:max-content}
summary:hover{color:var(--ink)}details[open] summary{margin-bottom:10px}
.keys{display:flex;flex-wrap:wrap;gap:6px 18px;font-size:13px;color:var(--soft);margin-top:14px}
.keys span{display:inline-flex;align-items:center;gap:7px}
.keys i{display:inline-grid;place-items:center;width:20px;height:20px;border-radius:4px;font-style:normal;font-size:13px}
.matrix{border-collapse:separate;border-spacing:3px;width:100%}
.matrix thead th{vertical-align:bottom;font-size:13px;color:var(--soft);text-align:center;width:84px;line-height:1.25;padding:0 2px 5px}
.matrix .corner{text-align:left;width:auto}
.matrix tbody th{font-size:14px;line-height:1.3;padding:3px 14px 3px 0;min-width:132px}
.matrix tbody th span{color:var(--soft)}
.matrix td{position:relative;height:30px;border-radius:5px;text-align:center;font-size:15px}
.matrix td.whole{text-align:left;font-size:13px;padding:4px 10px;line-height:1.3}
.equal:not(header){background:var(--equal-soft)}
.equal.part:not(header){background:repeating-linear-gradient(135deg,var(--equal-soft) 0 4px,transparent 4px 7px);box-shadow:inset 0 0 0 1px var(--equal-soft)}
td.different,i.different{background:var(--differ);color:#fff;font-weight:700}
td.failed,i.failed{background:var(--differ-soft);box-shadow:inset 0 0 0 2px var(--differ);font-weight:700}
td.skipped,i.skipped{background:var(--idle-soft);color:var(--soft)}
td.base,i.base{box-shadow:inset 0 0 0 1.5px var(--equal);font-size:12px}
td.idle,i.idle{color:var(--soft)}
.alarm{border:2px solid var(--bad);border-radius:12px;background:var(--card);padding:20px 22px;margin-top:28px}
.where{font-size:17px}.where span{color:inherit}
.facts{display:flex;flex-wrap:wrap;gap:8px 30px;margin:14px 0 16px}
.facts dt{font-size:12.5px;color:var(--soft)}.facts dd{font-weight:560}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr));gap:12px;margin-bottom:14px}
.side{background:var(--faint);border-radius:8px;padding:12px 16px;min-width:0}
.side.supported{box-shadow:inset 0 0 0 2px var(--equal)}
.side h3{margin:0;font-size:13.5px;color:var(--soft);font-weight:500}
.side mark{background:var(--equal);color:#fff;border-radius:99px;padding:1px 9px;font-size:12.5px;margin-left:6px;white-space:nowrap}
.value{font-size:25px;line-height:1.35;font-weight:620;overflow-wrap:anywhere}
.hex{color:var(--soft)}
.bits{display:block;font-size:12.5px;letter-spacing:.02em;word-spacing:.15em;margin:2px 0 6px;overflow-wrap:anywhere}
.bits b{background:var(--differ);color:#fff;font-weight:600}
.over{display:flex;flex-wrap:wrap;justify-content:space-between;gap:12px 30px;margin-bottom:14px}
.legend{display:flex;flex-wrap:wrap;gap:8px 26px;flex:1 1 300px}
.ramp{flex:1 1 240px;max-width:400px}
.steps{display:flex;height:14px;border-radius:3px;overflow:hidden}.steps i{flex:1}
.marks:not([hidden]){position:relative;height:20px;font-size:12px;color:var(--soft)}
.marks span{position:absolute;transform:translateX(-50%);top:3px;white-space:nowrap}.marks span:first-child{transform:none}.marks span:last-child{transform:translateX(-100%)}
.legend .keys{margin:0;align-items:flex-start}.legend .keys i{width:16px;height:14px}
.switch:not([hidden]){display:inline-flex;align-self:flex-start;border:1px solid var(--line);border-radius:7px;overflow:hidden}
.switch button{font:inherit;font-size:13px;color:var(--soft);background:none;border:0;padding:5px 12px;cursor:pointer}
.switch button[aria-pressed=true]{background:var(--ink);color:var(--card)}
.heat{width:100%;border-collapse:separate;border-spacing:1px;font-size:12.5px}
.heat th{white-space:nowrap;font-size:12.5px;font-weight:400}
.heat thead th{color:var(--soft);text-align:left;padding:0 0 3px 2px}
.heat.few thead th{text-align:center;padding-left:0}.heat thead .corner,.heat.few thead .corner{text-align:left}
.heat tbody th,.heat .corner{width:1%;position:sticky;left:0;background:var(--card);padding:0 10px 0 0;z-index:1}
.heat td{height:21px;min-width:13px;padding:0;text-align:center;line-height:1.2;border-radius:2px}
wbr{display:none}
.heat.few td{min-width:76px;height:24px}
.h0{background:var(--h0)}.h1{background:var(--h1)}.h2{background:var(--h2)}.h3{background:var(--h3)}.h4{background:var(--h4)}.h5{background:var(--h5)}.h6{background:var(--h6)}.h7{background:var(--h7)}.h8{background:var(--h8)}.h9{background:var(--h9)}.h10{background:var(--h10)}.h11{background:var(--h11)}
td.h0,td.h1,td.h2,td.h3,td.h4,td.h5{color:#10202a}td.h6,td.h7,td.h8,td.h9,td.h10,td.h11{color:#fff}
.zero{box-shadow:inset 0 0 0 1px var(--line)}
.heat .bad,i.bad{background:repeating-linear-gradient(45deg,var(--bad) 0 3px,var(--card) 3px 6px);color:var(--ink);font-weight:700}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,312px),1fr));gap:14px}
figure.card{padding:12px 14px 8px;min-width:0}
figcaption{font-size:14.5px;font-weight:600;line-height:1.35;margin-bottom:6px;overflow-wrap:anywhere}
figcaption small{display:block;font-size:12.5px;font-weight:400;color:var(--soft)}
.chart{display:block;width:100%;height:auto;overflow:visible}
.chart text{font-size:11px;fill:var(--soft)}.chart .up{font-size:8px}
.chart .title{font-size:10.5px}.chart .end{text-anchor:end}.chart .mid{text-anchor:middle}
.chart .grid{stroke:var(--grid);fill:none}.chart .axis{stroke:var(--soft);fill:none}
.chart .hit{fill:transparent}.chart .t:hover .hit{fill:var(--ink);opacity:.07}
.chart .bar{fill:var(--bar)}.chart .bar.mark{fill:var(--mark)}
.chart .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.line.total{stroke:var(--total);stroke-width:4.5}.line.quant{stroke:var(--quant);stroke-dasharray:6 3}.line.round{stroke:var(--round);stroke-dasharray:1.5 2.5}
circle.total{fill:var(--total)}circle.quant{fill:var(--quant)}circle.round{fill:var(--round)}circle.bad{fill:none;stroke:var(--bad);stroke-width:2}
.lines{display:flex;flex-wrap:wrap;gap:4px 24px;list-style:none;font-size:14px;margin-bottom:14px}
.lines li::before{content:"";display:inline-block;width:30px;margin-right:8px;vertical-align:middle;border-top:5px solid var(--total)}
.lines .quant::before{border-top:2.5px dashed var(--quant)}.lines .round::before{border-top:2.5px dotted var(--round)}
.stack{display:flex;gap:1px;height:34px;border-radius:6px;overflow:hidden;margin-bottom:12px}
.stack i{flex-basis:0;min-width:2px}
.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:9px}
.p0{background:var(--p0)}.p1{background:var(--p1)}.p2{background:var(--p2)}.p3{background:var(--p3)}.p4{background:var(--p4)}.p5{background:var(--p5)}.p6{background:var(--p6)}.p7{background:var(--p7)}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:12px 40px}
pre{background:var(--faint);border-radius:8px;padding:12px 16px;overflow-x:auto;font-size:14px;line-height:1.6}.note+pre{margin-top:8px}
.tip{position:fixed;z-index:9;max-width:min(340px,calc(100vw - 24px));background:var(--ink);color:var(--paper);font-size:13px;line-height:1.4;padding:7px 11px;border-radius:7px;pointer-events:none}
)css"
    R"css(@media screen and (prefers-color-scheme:dark){td.h0,td.h1,td.h2,td.h3,td.h4,td.h5{color:#eef3f6}td.h6,td.h7,td.h8,td.h9,td.h10,td.h11{color:#0d151b}}
@media screen and (max-width:640px){
main,.inner{padding-left:16px;padding-right:16px}
.verdict{padding:22px 0 20px}.sentence{font-size:16.5px}
.tiles{grid-template-columns:1fr 1fr}.tile{padding:11px 13px}.tile dd{font-size:19px}.tile dd.long{font-size:15.5px}
section{margin-top:38px}h2{font-size:21px}
.card{padding:13px}.alarm{padding:16px}
.matrix{border-spacing:2px;width:100%}
.matrix thead th{width:28px;padding:0 0 4px;height:9.6em}
.matrix thead th span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}
.matrix .corner{height:auto}
.matrix tbody th{font-size:12.5px;min-width:0;padding-right:6px}.matrix th b{display:block;font-size:13.5px}
.bits{font-size:11px;letter-spacing:0}
.matrix td{width:28px;min-width:28px;height:32px}
.cards,.cards tbody,.cards tr,.cards td{display:block}
.cards thead{display:none}
.cards tr{padding:9px 0;border-bottom:1px solid var(--line)}.cards tr:last-child{border-bottom:0}
.cards td,.cards .n{border:0!important;padding:1.5px 0!important;display:flex;justify-content:space-between;gap:16px;text-align:right;white-space:normal;overflow-wrap:anywhere}
.cards td::before{content:attr(data-label);color:var(--soft);flex:none;text-align:left}
.cards td:first-child{font-weight:600;justify-content:flex-start;text-align:left}.cards td:first-child::before{display:none}
.cards td:empty{display:none}.cards .swatch{align-self:center;margin-right:-6px;flex:none}
.heat td{min-width:15px}.heat.few td{min-width:44px}.heat th,.heat{font-size:11px}wbr{display:inline}.heat tbody th{white-space:normal;min-width:96px;line-height:1.15;padding-right:6px}
}
@media print{
body{zoom:.8}.lead,#heat .card,.keys,.gaps{break-inside:avoid}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
:root{--paper:#fff}
body{font-size:11pt}main,.inner{max-width:none;padding:0}
.inner{padding:0 16px}.scroll{overflow:visible}
.heat td,.heat.few td{min-width:0;height:15px;font-size:8px}.heat th{font-size:8.5px}
.matrix thead th{width:auto}.tight td,.tight th{font-size:8px;padding:1px 6px 1px 0}
.grid{grid-template-columns:1fr 1fr}
section{margin-top:26px}h2,.lead,figcaption{break-after:avoid}
figure,.tile,tr,.alarm,pre,.stack{break-inside:avoid}.switch,summary,.tip{display:none!important}
}
)css";

// Makes tooltips work on touch screens, drives the switch of the heat map, and opens folded parts for printing.
inline constexpr std::string_view kReportScript = R"js(
(function(){
var tip=document.createElement('div');tip.className='tip';tip.hidden=true;document.body.appendChild(tip);
function words(e){
 var own=e.getAttribute('title'),child=e.querySelector(':scope>title');
 if(own){e.setAttribute('data-tip',own);e.setAttribute('aria-label',own);e.removeAttribute('title')}
 else if(child){e.setAttribute('data-tip',child.textContent);child.remove()}
 return e.getAttribute('data-tip')}
function show(event){
 var e=event.target.closest&&event.target.closest('[title],[data-tip],g.t');
 if(!e){tip.hidden=true;return}
 tip.textContent=words(e);tip.hidden=false;
 var x=event.clientX+14,y=event.clientY+18;
 if(x+tip.offsetWidth>innerWidth-8)x=innerWidth-8-tip.offsetWidth;
 if(y+tip.offsetHeight>innerHeight-8)y=event.clientY-tip.offsetHeight-14;
 tip.style.left=Math.max(8,x)+'px';tip.style.top=Math.max(8,y)+'px'}
document.addEventListener('pointermove',show);document.addEventListener('pointerdown',show);
document.addEventListener('scroll',function(){tip.hidden=true},true);
var place=document.querySelector('.switch'),cells=document.querySelectorAll('.heat td[data-steps]');
if(place){
 ['distance','quantisation','rounding'].forEach(function(name,i){
  var b=document.createElement('button');b.type='button';b.textContent=name;b.setAttribute('aria-pressed',i===0);
  b.onclick=function(){
   place.querySelectorAll('button').forEach(function(o){o.setAttribute('aria-pressed',o===b)});
   document.querySelectorAll('.marks').forEach(function(m,k){m.hidden=k!==(i===2?1:0)});
   cells.forEach(function(c){
    c.className=c.dataset.steps.split(' ')[i];
    if(c.dataset.numbers)c.textContent=c.dataset.numbers.split('|')[i]})};
  place.appendChild(b)});
 place.hidden=false}
addEventListener('beforeprint',function(){document.querySelectorAll('details').forEach(function(d){d.open=true})});
})();
)js";

}  // namespace invar
