document.querySelectorAll(".graph").forEach(startGraph);
document.querySelectorAll(".evidence").forEach(startEvidence);
document.querySelectorAll(".columns").forEach(startColumns);
