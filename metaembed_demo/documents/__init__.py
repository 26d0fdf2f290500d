"""Document parsing: PDFs, images, archives, reading order, OCR, image tags."""
