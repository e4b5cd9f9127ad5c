"""Files that frames refer to: uploads, deletions and relocation."""
