"""Ask questions of a folder of documents: a complete application built on qicore."""
