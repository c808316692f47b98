// Draw the page: what a reader needs first comes first.

drawHead();
drawFailures(DATA.failures);
drawSummary();
drawCases();
drawRules();
setUpCases();
document.documentElement.dataset.ready = "table";
performance.mark("table");
requestAnimationFrame(() => setTimeout(() => {
  drawDistributions();
  document.documentElement.dataset.ready = "all";
}));
