document.querySelectorAll(".graph").forEach(startGraph);
document.querySelectorAll(".evidence").forEach(startEvidence);
document.querySelectorAll(".memory").forEach(startMemory);
document.querySelectorAll(".columns").forEach(startColumns);
