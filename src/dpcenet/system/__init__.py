"""What every floor above uses: files, processes, devices, progress, the machine."""
