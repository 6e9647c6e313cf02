/* SPDX-License-Identifier: MIT
 * How the page looks: one column of quiet type, one accent colour, light and dark. Text keeps a contrast of 4.5 to 1
 * to what lies behind it, the cells of the confusion matrix included, whose colour stays light on light and dark on
 * dark. */
#include "page.h"

static const char base[] =
    ":root{--paper:#fff;--ink:#1d2023;--soft:#5d646b;--line:#e1e4e7;--faint:#f5f6f7;--accent:#1565a8;"
    "--heat:108 174 230}\n"
    "@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;--paper:#15181b;--ink:#e6e8ea;"
    "--soft:#a3abb3;--line:#2e3439;--faint:#1c2024;--accent:#6db5f2;--heat:30 92 150}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%;text-size-adjust:100%}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.5 system-ui,-apple-system,'Segoe UI',"
    "Roboto,'Noto Sans',sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}\n"
    "main,header,footer{max-width:62rem;margin:0 auto;padding:0 1.25rem}\n"
    "header{padding-top:2rem}footer{padding-top:1rem;padding-bottom:2.5rem;color:var(--soft);font-size:.85rem}\n"
    "h1{font-size:1.75rem;line-height:1.2;margin:.15rem 0 .25rem;letter-spacing:-.01em;font-weight:650}\n"
    "h2{font-size:1.15rem;margin:0 0 .75rem;font-weight:650}\n"
    "h3{font-size:.95rem;margin:1.5rem 0 .4rem;font-weight:600}\n"
    "section{padding:1.5rem 0;border-top:1px solid var(--line)}\n"
    "p{margin:.4rem 0;max-width:46rem}p.soft{font-size:.9rem;margin:0 0 .8rem}"
    "h3 small{font-weight:400;font-size:.85rem;margin-left:.4em}.soft,figcaption,caption,small{color:var(--soft)}\n"
    ".above{margin:0;color:var(--soft);font-size:.85rem}\n"
    ".notice{border-left:3px solid var(--accent);padding:.5rem .9rem;background:var(--faint);max-width:none}\n"
    "a{color:var(--accent)}code,pre,.id{font-family:ui-monospace,'SF Mono',Menlo,Consolas,monospace;font-size:.85em}\n"
    "pre{overflow-x:auto;background:var(--faint);padding:.8rem 1rem;line-height:1.4}.id{overflow-wrap:anywhere}\n";

static const char facts[] =
    ".facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.4rem,1fr));gap:1.1rem 1.5rem;"
    "margin:1.4rem 0 1.6rem;padding:0;list-style:none;color:var(--soft);font-size:.85rem}\n"
    ".facts li{display:flex;flex-direction:column;border-top:2px solid var(--line);padding-top:.5rem}"
    ".facts li:first-child{border-color:var(--accent)}\n"
    ".facts .value{font-size:1.7rem;line-height:1.25;font-weight:600;letter-spacing:-.01em;color:var(--ink)}"
    ".facts li:first-child .value{color:var(--accent)}\n"
    "@media (max-width:36rem){.facts{grid-template-columns:1fr 1fr}.facts li:first-child{grid-column:1/-1}"
    "h1{font-size:1.5rem}header{padding-top:1.25rem}}\n";

static const char tables[] =
    /* A shade at the side where more of a table is, which paper that moves along covers at the table's ends. */
    ".box{overflow-x:auto;margin:0 -1.25rem;padding:0 1.25rem;background:"
    "linear-gradient(90deg,var(--paper) 40%,transparent) 0/3rem 100% no-repeat local,"
    "linear-gradient(270deg,var(--paper) 40%,transparent) 100%/3rem 100% no-repeat local,"
    "linear-gradient(90deg,var(--line),transparent) 0/.9rem 100% no-repeat scroll,"
    "linear-gradient(270deg,var(--line),transparent) 100%/.9rem 100% no-repeat scroll}"
    ".box:focus-visible{outline:2px solid var(--accent);outline-offset:-2px}\n"
    "table{border-collapse:collapse;font-size:.9rem;line-height:1.35}"
    "caption{text-align:left;font-size:.85rem;padding:0 0 .4rem}\n"
    "th,td{padding:.28rem .9rem .28rem 0;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}"
    "thead th{color:var(--soft);font-weight:500;font-size:.82rem;white-space:nowrap}"
    "tbody th{font-weight:500;white-space:nowrap;max-width:14rem;overflow:hidden;text-overflow:ellipsis}"
    "tfoot th,tfoot td{font-weight:600;border-bottom:0}tr>:last-child{padding-right:0}\n"
    ".n{text-align:right;white-space:nowrap}.w{width:100%;min-width:7rem}.w svg{display:block;width:100%}"
    ".ends{display:flex;justify-content:space-between;gap:.8em}.strips td.n{min-width:5.2rem}\n"
    ".pairs th{padding-right:1.5rem;font-weight:400;color:var(--soft);max-width:none}"
    ".pairs td{overflow-wrap:anywhere}\n"
    "details{margin:.8rem 0;font-size:.9rem}details table{font-size:inherit}"
    "summary{cursor:pointer;color:var(--accent);width:max-content;max-width:100%}details>.box{margin-top:.6rem}\n"
    ".beside{display:flex;flex-wrap:wrap;gap:1.5rem 3.5rem;align-items:flex-start}"
    ".beside>.box{max-width:calc(100% + 2.5rem)}\n"
    ".matrix{font-size:.85rem}.matrix th,.matrix td{border:0;padding:.35rem .45rem}.matrix td{text-align:right;"
    "min-width:3.1em;background:rgb(var(--heat)/var(--a,0));border:1px solid var(--paper);"
    "-webkit-print-color-adjust:exact;print-color-adjust:exact}\n"
    ".matrix thead th{vertical-align:bottom;text-align:center}.matrix thead th span{writing-mode:vertical-rl;"
    "transform:rotate(180deg);white-space:nowrap;max-height:12rem;overflow:hidden;text-overflow:ellipsis}\n"
    ".matrix tbody th{text-align:right;position:sticky;left:-1.25rem;background:var(--paper);padding-left:1.25rem}"
    ".matrix .o{color:var(--soft)}\n"
    "@media (max-width:36rem){.matrix tbody th{max-width:7.5rem}th,td{padding-right:.7rem}.less{display:none}"
    ".strips td.n{min-width:0}.w{min-width:5.5rem}}\n";

static const char pictures[] =
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));gap:1.2rem 2rem}\n"
    "figure{margin:0}figcaption{font-size:.85rem}.charts svg{display:block;width:100%;height:auto;overflow:visible}\n"
    "svg text{fill:var(--soft);font-size:12px}.grid{stroke:var(--line)}.axis{stroke:var(--soft)}"
    "svg .train{--c:var(--soft)}svg .val,svg .moving{--c:var(--accent)}"
    ".moving .curve{stroke-dasharray:1 4}.moving .dot{fill-opacity:.55}"
    ".curve{fill:none;stroke:var(--c);stroke-width:1.8;"
    "stroke-linejoin:round;stroke-linecap:round}.dot{fill:var(--c)}.hit{fill:var(--c);fill-opacity:0}"
    ".hit:hover{fill-opacity:1}.ring{fill:none;stroke:var(--c);stroke-width:1.5}svg text.name{fill:var(--c);"
    "font-weight:600}\n"
    ".whisker{stroke:var(--accent);stroke-width:2}.mean{stroke:var(--soft);"
    "stroke-dasharray:2 2}.whisker,.mean,.zero,.tick{vector-effect:non-scaling-stroke}"
    ".tick{stroke:var(--accent);stroke-opacity:.6;fill:none}"
    ".zero{stroke:var(--soft)}\n"
    ".mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));gap:1.2rem 1rem;padding:0;"
    "margin:.8rem 0 0;list-style:none}.mistakes img{display:block;width:7rem;height:7rem;object-fit:contain;"
    "image-rendering:pixelated;background:var(--faint);margin-bottom:.35rem}.mistakes figcaption{line-height:1.35}"
    ".mistakes strong{color:var(--ink);font-weight:600}\n"
    "@media (max-width:36rem){.mistakes{grid-template-columns:1fr 1fr 1fr;gap:1rem .7rem}"
    ".mistakes img{width:100%;height:auto;aspect-ratio:1}.mistakes figcaption{font-size:.78rem}}\n"
    "@media print{body{font-size:10pt}section,figure,tr{break-inside:avoid}.box{overflow:visible}"
    "details:not([open]){display:none}}\n";

void cli_page_style(FILE *to)
{
    fputs("<style>\n", to);
    fputs(base, to);
    fputs(facts, to);
    fputs(tables, to);
    fputs(pictures, to);
    fputs("</style>\n", to);
}
