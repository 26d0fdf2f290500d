"""Files to pages: PDFs, images, archives, reading order, OCR, image tags."""
